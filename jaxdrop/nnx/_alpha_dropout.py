"""AlphaDropout as a Flax NNX module."""

from collections.abc import Sequence
from typing import Any

from jaxdrop._core.annotations import MeshAxes
from jaxdrop._functional.alpha_dropout import alpha_dropout
from jaxdrop.nnx._layer import RatedLayer
from jaxdrop.nnx._rate import keep_rate
from jaxdrop.nnx._stream import Streams


class AlphaDropout(RatedLayer):
    """Drop to SELU's saturation, keeping mean 0 and variance 1.

    ``y = a * where(m, x, s) + b``, ``P(m = 0) = rate``, s, a and b the constants of SELU

    ``jaxdrop.alpha_dropout`` states moments, paper and invalid uses.

    Args:
      rate, deterministic, rng_collection, rngs, mesh_axes: as in ``jaxdrop.nnx.Dropout``.
      broadcast_dims: dimensions along which one decision is shared.

    >>> import jax.numpy as jnp, jaxdrop.nnx
    >>> from flax import nnx
    >>> layer = jaxdrop.nnx.AlphaDropout(0.2, rngs=nnx.Rngs(0))
    >>> y = layer(jnp.tile(jnp.array([-1.0, 1.0]), 50_000))
    >>> f"{abs(y.mean()):.1f} {y.std():.1f}"
    '0.0 1.0'
    """

    _function = staticmethod(alpha_dropout)

    def __init__(
        self,
        rate: Any,
        *,
        broadcast_dims: Sequence[int] = (),
        deterministic: bool | None = False,
        rng_collection: str = "dropout",
        rngs: Streams = None,
        mesh_axes: MeshAxes = (),
    ):
        self.rate = keep_rate(rate)
        self._keep_stream(deterministic, rng_collection, rngs, mesh_axes)
        self._keep_options(broadcast_dims=broadcast_dims)
