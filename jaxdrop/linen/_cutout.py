"""Cutout as a Flax Linen module."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from jaxdrop._functional.cutout import cutout
from jaxdrop.linen._layer import RatedLayer


class Cutout(RatedLayer):
    """Set one block of every example to zero.

    ``y[n, i] = 0`` in a block of ``size`` around a place drawn for each example n, else ``x[n, i]``

    ``jaxdrop.cutout`` states moments, paper and invalid uses.

    Attributes:
      rate: probability that an example gets a block.
      deterministic, rng_collection, mesh_axes: as in ``jaxdrop.linen.Dropout``.
      size: side of the block, for all spatial dimensions or one for each.
      batch_axis: the dimension of the examples; None if x is one example.
      channel_axis: the dimension of the maps; None if there is only one.

    >>> import jax, jax.numpy as jnp, jaxdrop.linen
    >>> layer = jaxdrop.linen.Cutout(size=4, deterministic=False)
    >>> y = layer.apply({}, jnp.ones((2, 9, 3)), rngs={"dropout": jax.random.key(0)})
    >>> (y == 0).any(axis=(1, 2)).tolist()
    [True, True]
    """

    rate: Any = 1.0
    _: dataclasses.KW_ONLY
    size: int | Sequence[int]
    batch_axis: int | None = 0
    channel_axis: int | None = -1

    _function = staticmethod(cutout)
    _draws_at_one = True
