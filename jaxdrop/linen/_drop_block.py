"""DropBlock as a Flax Linen module."""

from collections.abc import Sequence

from jaxdrop._functional.drop_block import drop_block
from jaxdrop.linen._layer import RatedLayer


class DropBlock(RatedLayer, kw_only=True):
    """Drop blocks of neighbouring elements of feature maps.

    Calls ``jaxdrop.drop_block``, which states formula, moments, paper and invalid uses.

    Attributes:
      rate, deterministic, rng_collection: as in ``jaxdrop.linen.Dropout``.
      block_size: side of a block, for all spatial dimensions or one for each.
      batch_axis: the dimension of the examples; None if there is one.
      channel_axis: the dimension of the maps; None if there is only one.
      share_channels: one mask for all maps of an example.

    >>> import jax, jax.numpy as jnp, jaxdrop.linen
    >>> layer = jaxdrop.linen.DropBlock(0.5, deterministic=False)
    >>> y = layer.apply({}, jnp.ones((2, 9, 3)), rngs={"dropout": jax.random.key(0)})
    """

    block_size: int | Sequence[int] = 7
    batch_axis: int | None = 0
    channel_axis: int | None = -1
    share_channels: bool = False

    _function = staticmethod(drop_block)
