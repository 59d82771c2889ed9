"""Dropout of feature maps and of parts of them as Flax Linen modules."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from jaxdrop._functional.cutout import cutout
from jaxdrop._functional.drop_block import drop_block
from jaxdrop._functional.spatial_dropout import spatial_dropout
from jaxdrop.linen._member import Member


class SpatialDropout(Member, kw_only=True):
    """Drop whole feature maps.

    Calls ``jaxdrop.spatial_dropout``, which states formula, moments, paper and invalid uses.

    Attributes:
      rate, deterministic, rng_collection: as in ``jaxdrop.linen.Dropout``.
      batch_axis: the dimension of the examples; None if there is one.
      channel_axis: the dimension of the maps.

    >>> import jax, jax.numpy as jnp, jaxdrop.linen
    >>> layer = jaxdrop.linen.SpatialDropout(0.5, deterministic=False)
    >>> y = layer.apply({}, jnp.ones((2, 9, 3)), rngs={"dropout": jax.random.key(0)})
    """

    batch_axis: int | None = 0
    channel_axis: int = -1

    _function = staticmethod(spatial_dropout)


class DropBlock(Member, kw_only=True):
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


class Cutout(Member, kw_only=True):
    """Set one block of every example to zero.

    Calls ``jaxdrop.cutout``, which states formula, moments, paper and invalid uses.

    Attributes:
      rate: probability that an example gets a block.
      deterministic, rng_collection: as in ``jaxdrop.linen.Dropout``.
      size: side of the block, for all spatial dimensions or one for each.
      batch_axis: the dimension of the examples; None if there is one.
      channel_axis: the dimension of the maps; None if there is only one.

    >>> import jax, jax.numpy as jnp, jaxdrop.linen
    >>> layer = jaxdrop.linen.Cutout(size=4, deterministic=False)
    >>> y = layer.apply({}, jnp.ones((2, 9, 3)), rngs={"dropout": jax.random.key(0)})
    """

    rate: Any = dataclasses.field(default=1.0, kw_only=False)
    size: int | Sequence[int]
    batch_axis: int | None = 0
    channel_axis: int | None = -1

    _function = staticmethod(cutout)
