"""Gaussian dropout and noise as Flax Linen modules."""

from jaxdrop._gaussian import gaussian_dropout, gaussian_noise
from jaxdrop.linen._member import Member


class GaussianDropout(Member):
    """Multiply by normal noise of mean 1 with the variance of dropout's mask.

    Calls ``jaxdrop.gaussian_dropout``, which states formula, moments, paper and invalid uses.

    Attributes:
      rate, deterministic, rng_collection: as in ``jaxdrop.linen.Dropout``.

    >>> import jax, jax.numpy as jnp, jaxdrop.linen
    >>> layer = jaxdrop.linen.GaussianDropout(0.5, deterministic=False)
    >>> y = layer.apply({}, jnp.ones((2, 9)), rngs={"dropout": jax.random.key(0)})
    """

    _function = staticmethod(gaussian_dropout)


class GaussianNoise(Member):
    """Add normal noise; the rate is its standard deviation.

    Calls ``jaxdrop.gaussian_noise``, which states formula, moments, paper and invalid uses.

    Attributes:
      rate, deterministic, rng_collection: as in ``jaxdrop.linen.Dropout``.

    >>> import jax, jax.numpy as jnp, jaxdrop.linen
    >>> layer = jaxdrop.linen.GaussianNoise(0.5, deterministic=False)
    >>> y = layer.apply({}, jnp.ones((2, 9)), rngs={"dropout": jax.random.key(0)})
    """

    _function = staticmethod(gaussian_noise)
