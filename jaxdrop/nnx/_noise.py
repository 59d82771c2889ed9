"""Gaussian dropout and noise as Flax NNX modules."""

from jaxdrop._gaussian import gaussian_dropout, gaussian_noise
from jaxdrop.nnx._member import Member


class GaussianDropout(Member):
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


class GaussianNoise(Member):
    """Add normal noise; the rate is its standard deviation.

    Calls ``jaxdrop.gaussian_noise``, which states formula, moments, paper and invalid uses.

    Args:
      rate, deterministic, rng_collection, rngs: as in ``jaxdrop.nnx.Dropout``.

    >>> import jax.numpy as jnp, jaxdrop.nnx
    >>> from flax import nnx
    >>> layer = jaxdrop.nnx.GaussianNoise(0.5, rngs=nnx.Rngs(0))
    >>> y = layer(jnp.ones((2, 9)))
    """

    _function = staticmethod(gaussian_noise)
