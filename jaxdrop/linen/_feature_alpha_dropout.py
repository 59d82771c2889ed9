"""FeatureAlphaDropout as a Flax Linen module."""

from jaxdrop._functional.feature_alpha_dropout import feature_alpha_dropout
from jaxdrop.linen._layer import RatedLayer


class FeatureAlphaDropout(RatedLayer, kw_only=True):
    """Drop whole feature maps to SELU's saturation.

    ``y = a * where(m[n, c], x, s) + b``, ``P(m = 0) = rate``, s, a and b the constants of SELU

    ``jaxdrop.feature_alpha_dropout`` states moments, paper and invalid uses.

    Attributes:
      rate, deterministic, rng_collection, mesh_axes: as in ``jaxdrop.linen.Dropout``.
      batch_axis: the dimension of the examples; None if x is one example.
      channel_axis: the dimension of the maps.

    >>> import jax, jax.numpy as jnp, jaxdrop.linen
    >>> layer = jaxdrop.linen.FeatureAlphaDropout(0.5, deterministic=False)
    >>> y = layer.apply({}, jnp.ones((2, 9, 3)), rngs={"dropout": jax.random.key(0)})
    >>> bool((y == y[:, :1]).all()), len(set(y.ravel().tolist()))
    (True, 2)
    """

    batch_axis: int | None = 0
    channel_axis: int = -1

    _function = staticmethod(feature_alpha_dropout)
