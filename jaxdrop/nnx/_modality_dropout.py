"""ModalityDropout as a Flax NNX module."""

from typing import Any

from jaxdrop._core.annotations import MeshAxes
from jaxdrop._functional.modality_dropout import modality_dropout
from jaxdrop.nnx._layer import RatedLayer
from jaxdrop.nnx._rate import keep_rate
from jaxdrop.nnx._stream import Streams


class ModalityDropout(RatedLayer):
    """Drop whole inputs of an example, such as its image or its text.

    ``y[i][n] = x[i][n] if m[n, i] else 0``

    ``jaxdrop.modality_dropout`` states law, paper and invalid uses.

    Args:
      rate, deterministic, rng_collection, rngs, mesh_axes: as in ``jaxdrop.nnx.Dropout``.
      keep_one: True keeps at least one modality of each example.

    >>> import jax, jax.numpy as jnp, jaxdrop.nnx
    >>> layer = jaxdrop.nnx.ModalityDropout(0.5)
    >>> inputs = {"image": jnp.ones((6, 4, 4, 3)), "text": jnp.ones(6)}
    >>> layer(inputs, rngs=jax.random.key(0))["text"].tolist()
    [1.0, 1.0, 0.0, 0.0, 1.0, 0.0]
    """

    _function = staticmethod(modality_dropout)
    _draws_at_one = True

    def __init__(
        self,
        rate: Any,
        *,
        keep_one: bool = True,
        deterministic: bool | None = False,
        rng_collection: str = "dropout",
        rngs: Streams = None,
        mesh_axes: MeshAxes = (),
    ):
        self.rate = keep_rate(rate)
        self._keep_stream(deterministic, rng_collection, rngs, mesh_axes)
        self._keep_options(keep_one=keep_one)
