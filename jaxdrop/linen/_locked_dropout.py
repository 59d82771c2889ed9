"""LockedDropout as a Flax Linen module."""

from jaxdrop._functional.locked_dropout import locked_dropout
from jaxdrop.linen._layer import RatedLayer


class LockedDropout(RatedLayer, kw_only=True):
    """Drop the same features at every time step.

    ``y[n, t, f] = x[n, t, f] * m[n, f] / (1 - rate)``, ``P(m[n, f] = 0) = rate``

    ``jaxdrop.locked_dropout`` states moments, paper and invalid uses.

    Attributes:
      rate, deterministic, rng_collection, mesh_axes: as in ``jaxdrop.linen.Dropout``.
      time_axis: the dimension along which the mask is fixed; None for -2, where x has three
        dimensions or more.

    >>> import jax, jax.numpy as jnp, jaxdrop.linen
    >>> layer = jaxdrop.linen.LockedDropout(0.5, deterministic=False)
    >>> y = layer.apply({}, jnp.ones((2, 7, 4)), rngs={"dropout": jax.random.key(0)})
    >>> bool((y == y[:, :1]).all()), sorted(set(y.ravel().tolist()))
    (True, [0.0, 2.0])
    """

    time_axis: int | None = None

    _function = staticmethod(locked_dropout)
