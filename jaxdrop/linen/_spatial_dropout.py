"""SpatialDropout as a Flax Linen module."""

from jaxdrop._functional.spatial_dropout import spatial_dropout
from jaxdrop.linen._layer import RatedLayer


class SpatialDropout(RatedLayer, kw_only=True):
    """Drop whole feature maps.

    ``y[n, ..., c] = x[n, ..., c] * m[n, c] / (1 - rate)``, ``P(m[n, c] = 0) = rate``

    ``jaxdrop.spatial_dropout`` states moments, paper and invalid uses.

    Attributes:
      rate, deterministic, rng_collection, mesh_axes: as in ``jaxdrop.linen.Dropout``.
      batch_axis: the dimension of the examples; None if x is one example.
      channel_axis: the dimension of the maps.

    >>> import jax, jax.numpy as jnp, jaxdrop.linen
    >>> layer = jaxdrop.linen.SpatialDropout(0.5, deterministic=False)
    >>> y = layer.apply({}, jnp.ones((2, 9, 3)), rngs={"dropout": jax.random.key(0)})
    >>> bool((y == y[:, :1]).all()), sorted(set(y.ravel().tolist()))
    (True, [0.0, 2.0])
    """

    batch_axis: int | None = 0
    channel_axis: int = -1

    _function = staticmethod(spatial_dropout)
