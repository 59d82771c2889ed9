"""FeatureAlphaDropout as a Flax NNX module."""

from jaxdrop._functional.feature_alpha_dropout import feature_alpha_dropout
from jaxdrop.nnx._layer import MapLayer


class FeatureAlphaDropout(MapLayer):
    """Drop whole feature maps to SELU's saturation.

    ``y = a * where(m[n, c], x, s) + b``, ``P(m = 0) = rate``, s, a and b the constants of SELU

    ``jaxdrop.feature_alpha_dropout`` states moments, paper and invalid uses.

    Args:
      rate, deterministic, rng_collection, rngs, mesh_axes: as in ``jaxdrop.nnx.Dropout``.
      batch_axis: the dimension of the examples; None if x is one example.
      channel_axis: the dimension of the maps.

    >>> import jax.numpy as jnp, jaxdrop.nnx
    >>> from flax import nnx
    >>> layer = jaxdrop.nnx.FeatureAlphaDropout(0.5, rngs=nnx.Rngs(0))
    >>> y = layer(jnp.ones((2, 9, 3)))
    >>> bool((y == y[:, :1]).all()), len(set(y.ravel().tolist()))
    (True, 2)
    """

    _function = staticmethod(feature_alpha_dropout)
