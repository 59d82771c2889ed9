"""GaussianDropout as a Flax NNX module."""

from jaxdrop._functional.gaussian_dropout import gaussian_dropout
from jaxdrop.nnx._layer import RatedLayer


class GaussianDropout(RatedLayer):
    """Multiply by normal noise of mean 1 with the variance of dropout's mask.

    ``y = x * (1 + sqrt(rate / (1 - rate)) * z)``, z standard normal

    ``jaxdrop.gaussian_dropout`` states moments, paper and invalid uses.

    Args:
      rate, deterministic, rng_collection, rngs, mesh_axes: as in ``jaxdrop.nnx.Dropout``.

    >>> import jax.numpy as jnp, jaxdrop.nnx
    >>> from flax import nnx
    >>> layer = jaxdrop.nnx.GaussianDropout(0.5, rngs=nnx.Rngs(0))
    >>> y = layer(jnp.ones(100_000))
    >>> f"{y.mean():.2f} {y.var():.1f}"
    '1.00 1.0'
    """

    _function = staticmethod(gaussian_dropout)
