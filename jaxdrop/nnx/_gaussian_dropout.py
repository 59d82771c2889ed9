"""GaussianDropout as a Flax NNX module."""

from jaxdrop._functional.gaussian_dropout import gaussian_dropout
from jaxdrop.nnx._layer import RatedLayer


class GaussianDropout(RatedLayer):
    """Multiply by normal noise of mean 1 with the variance of dropout's mask.

    Calls ``jaxdrop.gaussian_dropout``, which states formula, moments, paper and invalid uses.

    Args:
      rate, deterministic, rng_collection, rngs: as in ``jaxdrop.nnx.Dropout``.

    >>> import jax.numpy as jnp, jaxdrop.nnx
    >>> from flax import nnx
    >>> layer = jaxdrop.nnx.GaussianDropout(0.5, rngs=nnx.Rngs(0))
    >>> y = layer(jnp.ones((2, 9)))
    """

    _function = staticmethod(gaussian_dropout)
