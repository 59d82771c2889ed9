"""PatchDropout as a Flax NNX module."""

from typing import Any

from jaxdrop._core.annotations import MeshAxes
from jaxdrop._functional.patch_dropout import patch_dropout
from jaxdrop.nnx._layer import RatedLayer
from jaxdrop.nnx._rate import keep_rate
from jaxdrop.nnx._stream import Streams


class PatchDropout(RatedLayer):
    """Keep a random subset of the tokens of every example.

    ``y = x[n, kept[n]]``, the prefix and a random ``1 - rate`` of the other tokens kept

    ``jaxdrop.patch_dropout`` states moments, paper and invalid uses.

    Args:
      rate, deterministic, rng_collection, rngs, mesh_axes: as in ``jaxdrop.nnx.Dropout``.
      prefix: number of leading tokens that are always kept.

    >>> import jax.numpy as jnp, jaxdrop.nnx
    >>> from flax import nnx
    >>> layer = jaxdrop.nnx.PatchDropout(0.5, rngs=nnx.Rngs(0))
    >>> y = layer(jnp.arange(9.0).reshape(1, 9, 1))
    >>> y.shape, float(y[0, 0, 0])
    ((1, 5, 1), 0.0)
    """

    _function = staticmethod(patch_dropout)
    _draws_at_one = True

    def __init__(
        self,
        rate: Any,
        *,
        prefix: int = 1,
        deterministic: bool | None = False,
        rng_collection: str = "dropout",
        rngs: Streams = None,
        mesh_axes: MeshAxes = (),
    ):
        self.rate = keep_rate(rate)
        self._keep_stream(deterministic, rng_collection, rngs, mesh_axes)
        self._keep_options(prefix=prefix)
