"""GaussianDropout as a Flax Linen module."""

from jaxdrop._functional.gaussian_dropout import gaussian_dropout
from jaxdrop.linen._layer import RatedLayer


class GaussianDropout(RatedLayer, kw_only=True):
    """Multiply by normal noise of mean 1 with the variance of dropout's mask.

    ``y = x * (1 + sqrt(rate / (1 - rate)) * z)``, z standard normal

    ``jaxdrop.gaussian_dropout`` states moments, paper and invalid uses.

    Attributes:
      rate, deterministic, rng_collection, mesh_axes: as in ``jaxdrop.linen.Dropout``.

    >>> import jax, jax.numpy as jnp, jaxdrop.linen
    >>> layer = jaxdrop.linen.GaussianDropout(0.5, deterministic=False)
    >>> y = layer.apply({}, jnp.ones(100_000), rngs={"dropout": jax.random.key(0)})
    >>> f"{y.mean():.2f} {y.var():.1f}"
    '1.00 1.0'
    """

    _function = staticmethod(gaussian_dropout)
