"""SpatialDropout as a Flax NNX module."""

from jaxdrop._functional.spatial_dropout import spatial_dropout
from jaxdrop.nnx._layer import MapLayer


class SpatialDropout(MapLayer):
    """Drop whole feature maps.

    ``y[n, ..., c] = x[n, ..., c] * m[n, c] / (1 - rate)``, ``P(m[n, c] = 0) = rate``

    ``jaxdrop.spatial_dropout`` states moments, paper and invalid uses.

    Args:
      rate, deterministic, rng_collection, rngs, mesh_axes: as in ``jaxdrop.nnx.Dropout``.
      batch_axis: the dimension of the examples; None if x is one example.
      channel_axis: the dimension of the maps.

    >>> import jax.numpy as jnp, jaxdrop.nnx
    >>> from flax import nnx
    >>> layer = jaxdrop.nnx.SpatialDropout(0.5, rngs=nnx.Rngs(0))
    >>> y = layer(jnp.ones((2, 9, 3)))
    >>> bool((y == y[:, :1]).all()), sorted(set(y.ravel().tolist()))
    (True, [0.0, 2.0])
    """

    _function = staticmethod(spatial_dropout)
