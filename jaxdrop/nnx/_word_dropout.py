"""WordDropout as a Flax NNX module."""

from collections.abc import Sequence
from typing import Any

from jaxdrop._core.annotations import MeshAxes
from jaxdrop._functional.word_dropout import word_dropout
from jaxdrop.nnx._layer import RatedLayer
from jaxdrop.nnx._rate import keep_rate
from jaxdrop.nnx._stream import Streams


class WordDropout(RatedLayer):
    """Replace tokens at random by the unknown word.

    ``y[i] = tokens[i] if m[i] else unknown``, ``P(m[i] = 0) = rate``

    ``jaxdrop.word_dropout`` states moments, paper and invalid uses.

    Args:
      rate, deterministic, rng_collection, rngs, mesh_axes: as in ``jaxdrop.nnx.Dropout``.
      unknown: the token that takes the place of a dropped one.
      protected: tokens that are never replaced.

    >>> import jax, jax.numpy as jnp, jaxdrop.nnx
    >>> layer = jaxdrop.nnx.WordDropout(0.5, unknown=0)
    >>> y = layer(jnp.arange(1, 7), rngs=jax.random.key(0))
    >>> y.tolist()
    [1, 2, 0, 0, 5, 0]
    """

    _function = staticmethod(word_dropout)

    def __init__(
        self,
        rate: Any,
        *,
        unknown: int,
        protected: Sequence[int] = (),
        deterministic: bool | None = False,
        rng_collection: str = "dropout",
        rngs: Streams = None,
        mesh_axes: MeshAxes = (),
    ):
        self.rate = keep_rate(rate)
        self._keep_stream(deterministic, rng_collection, rngs, mesh_axes)
        self._keep_options(unknown=unknown, protected=protected)
