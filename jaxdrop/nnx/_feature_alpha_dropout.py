"""FeatureAlphaDropout as a Flax NNX module."""

from typing import Any

from jaxdrop._functional.feature_alpha_dropout import feature_alpha_dropout
from jaxdrop.nnx._layer import RatedLayer
from jaxdrop.nnx._rate import keep_rate
from jaxdrop.nnx._stream import Streams


class FeatureAlphaDropout(RatedLayer):
    """Drop whole feature maps to SELU's saturation.

    ``y = a * where(m[n, c], x, s) + b``, ``P(m = 0) = rate``, s, a and b the constants of SELU

    ``jaxdrop.feature_alpha_dropout`` states moments, paper and invalid uses.

    Args:
      rate, deterministic, rng_collection, rngs: as in ``jaxdrop.nnx.Dropout``.
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

    def __init__(
        self,
        rate: Any,
        *,
        batch_axis: int | None = 0,
        channel_axis: int = -1,
        deterministic: bool | None = False,
        rng_collection: str = "dropout",
        rngs: Streams = None,
    ):
        self.rate = keep_rate(rate)
        self._keep_stream(deterministic, rng_collection, rngs)
        self._keep_options(batch_axis=batch_axis, channel_axis=channel_axis)
