"""AlphaDropout as a Flax Linen module."""

from collections.abc import Sequence

from jaxdrop._functional.alpha_dropout import alpha_dropout
from jaxdrop.linen._layer import RatedLayer


class AlphaDropout(RatedLayer, kw_only=True):
    """Drop to SELU's saturation, keeping mean 0 and variance 1.

    ``y = a * where(m, x, s) + b``, ``P(m = 0) = rate``, s, a and b the constants of SELU

    ``jaxdrop.alpha_dropout`` states moments, paper and invalid uses.

    Attributes:
      rate, deterministic, rng_collection, mesh_axes: as in ``jaxdrop.linen.Dropout``.
      broadcast_dims: dimensions along which one decision is shared.

    >>> import jax, jax.numpy as jnp, jaxdrop.linen
    >>> layer = jaxdrop.linen.AlphaDropout(0.2, deterministic=False)
    >>> x = jnp.tile(jnp.array([-1.0, 1.0]), 50_000)
    >>> y = layer.apply({}, x, rngs={"dropout": jax.random.key(0)})
    >>> f"{abs(y.mean()):.1f} {y.std():.1f}"
    '0.0 1.0'
    """

    broadcast_dims: Sequence[int] = ()

    _function = staticmethod(alpha_dropout)
