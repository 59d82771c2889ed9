"""DropBlock as a Flax Linen module."""

from collections.abc import Sequence

from jaxdrop._functional.drop_block import drop_block
from jaxdrop.linen._layer import RatedLayer


class DropBlock(RatedLayer, kw_only=True):
    """Drop blocks of neighbouring elements of feature maps.

    ``y = where(no block over i, x[i] / (1 - rate), 0)``, a position under a block with P = rate

    ``jaxdrop.drop_block`` states moments, paper and invalid uses.

    Attributes:
      rate, deterministic, rng_collection, mesh_axes: as in ``jaxdrop.linen.Dropout``.
      block_size: side of a block, for all spatial dimensions or one for each.
      batch_axis: the dimension of the examples; None if x is one example.
      channel_axis: the dimension of the maps; None if there is only one.
      share_channels: one mask for all maps of an example.

    >>> import jax, jax.numpy as jnp, jaxdrop.linen
    >>> layer = jaxdrop.linen.DropBlock(0.3, block_size=3, deterministic=False)
    >>> y = layer.apply({}, jnp.ones((1, 10, 1)), rng=jax.random.key(3))
    >>> [int(v > 0) for v in y.ravel()]
    [1, 1, 1, 1, 1, 1, 0, 0, 0, 1]
    """

    block_size: int | Sequence[int] = 7
    batch_axis: int | None = 0
    channel_axis: int | None = -1
    share_channels: bool = False

    _function = staticmethod(drop_block)
