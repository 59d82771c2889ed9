"""DropBlock as a Flax NNX module."""

from collections.abc import Sequence
from typing import Any

from jaxdrop._core.annotations import MeshAxes
from jaxdrop._functional.drop_block import drop_block
from jaxdrop.nnx._layer import RatedLayer
from jaxdrop.nnx._rate import keep_rate
from jaxdrop.nnx._stream import Streams


class DropBlock(RatedLayer):
    """Drop blocks of neighbouring elements of feature maps.

    ``y = where(no block over i, x[i] / (1 - rate), 0)``, a position under a block with P = rate

    ``jaxdrop.drop_block`` states moments, paper and invalid uses.

    Args:
      rate, deterministic, rng_collection, rngs, mesh_axes: as in ``jaxdrop.nnx.Dropout``.
      block_size: side of a block, for all spatial dimensions or one for each.
      batch_axis: the dimension of the examples; None if x is one example.
      channel_axis: the dimension of the maps; None if there is only one.
      share_channels: one mask for all maps of an example.

    >>> import jax, jax.numpy as jnp, jaxdrop.nnx
    >>> layer = jaxdrop.nnx.DropBlock(0.3, block_size=3)
    >>> y = layer(jnp.ones((1, 10, 1)), rngs=jax.random.key(3))
    >>> [int(v > 0) for v in y.ravel()]
    [1, 1, 1, 1, 1, 1, 0, 0, 0, 1]
    """

    _function = staticmethod(drop_block)

    def __init__(
        self,
        rate: Any,
        *,
        block_size: int | Sequence[int] = 7,
        batch_axis: int | None = 0,
        channel_axis: int | None = -1,
        share_channels: bool = False,
        deterministic: bool | None = False,
        rng_collection: str = "dropout",
        rngs: Streams = None,
        mesh_axes: MeshAxes = (),
    ):
        self.rate = keep_rate(rate)
        self._keep_stream(deterministic, rng_collection, rngs, mesh_axes)
        self._keep_options(
            block_size=block_size,
            batch_axis=batch_axis,
            channel_axis=channel_axis,
            share_channels=share_channels,
        )
