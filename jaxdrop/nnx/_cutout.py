"""Cutout as a Flax NNX module."""

from collections.abc import Sequence
from typing import Any

from jaxdrop._core.annotations import MeshAxes
from jaxdrop._functional.cutout import cutout
from jaxdrop.nnx._layer import RatedLayer
from jaxdrop.nnx._rate import keep_rate
from jaxdrop.nnx._stream import Streams


class Cutout(RatedLayer):
    """Set one block of every example to zero.

    ``y[n, i] = 0`` in a block of ``size`` around a place drawn for each example n, else ``x[n, i]``

    ``jaxdrop.cutout`` states moments, paper and invalid uses.

    Args:
      rate: probability that an example gets a block.
      deterministic, rng_collection, rngs, mesh_axes: as in ``jaxdrop.nnx.Dropout``.
      size: side of the block, for all spatial dimensions or one for each.
      batch_axis: the dimension of the examples; None if x is one example.
      channel_axis: the dimension of the maps; None if there is only one.

    >>> import jax.numpy as jnp, jaxdrop.nnx
    >>> from flax import nnx
    >>> layer = jaxdrop.nnx.Cutout(size=4, rngs=nnx.Rngs(0))
    >>> y = layer(jnp.ones((2, 9, 3)))
    >>> (y == 0).any(axis=(1, 2)).tolist()
    [True, True]
    """

    _function = staticmethod(cutout)
    _draws_at_one = True

    def __init__(
        self,
        rate: Any = 1.0,
        *,
        size: int | Sequence[int],
        batch_axis: int | None = 0,
        channel_axis: int | None = -1,
        deterministic: bool | None = False,
        rng_collection: str = "dropout",
        rngs: Streams = None,
        mesh_axes: MeshAxes = (),
    ):
        self.rate = keep_rate(rate)
        self._keep_stream(deterministic, rng_collection, rngs, mesh_axes)
        self._keep_options(size=size, batch_axis=batch_axis, channel_axis=channel_axis)
