"""LockedDropout as a Flax Linen module."""

from jaxdrop._functional.locked_dropout import locked_dropout
from jaxdrop.linen._layer import RatedLayer


class LockedDropout(RatedLayer, kw_only=True):
    """Drop the same features at every time step.

    Calls ``jaxdrop.locked_dropout``, which states formula, moments, paper and invalid uses.

    Attributes:
      rate, deterministic, rng_collection: as in ``jaxdrop.linen.Dropout``.
      time_axis: the dimension along which the mask is fixed; None for -2, where x has three
        dimensions or more.

    >>> import jax, jax.numpy as jnp, jaxdrop.linen
    >>> layer = jaxdrop.linen.LockedDropout(0.5, deterministic=False)
    >>> y = layer.apply({}, jnp.ones((2, 9, 3)), rngs={"dropout": jax.random.key(0)})
    """

    time_axis: int | None = None

    _function = staticmethod(locked_dropout)
