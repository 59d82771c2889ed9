"""AlphaDropout as a Flax Linen module."""

from collections.abc import Sequence

from jaxdrop._functional.alpha_dropout import alpha_dropout
from jaxdrop.linen._layer import RatedLayer


class AlphaDropout(RatedLayer, kw_only=True):
    """Drop to SELU's saturation, keeping mean 0 and variance 1.

    Calls ``jaxdrop.alpha_dropout``, which states formula, moments, paper and invalid uses.

    Attributes:
      rate, deterministic, rng_collection: as in ``jaxdrop.linen.Dropout``.
      broadcast_dims: dimensions along which one decision is shared.

    >>> import jax, jax.numpy as jnp, jaxdrop.linen
    >>> layer = jaxdrop.linen.AlphaDropout(0.5, deterministic=False)
    >>> y = layer.apply({}, jnp.ones((2, 9)), rngs={"dropout": jax.random.key(0)})
    """

    broadcast_dims: Sequence[int] = ()

    _function = staticmethod(alpha_dropout)
