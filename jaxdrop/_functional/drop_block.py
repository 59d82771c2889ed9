"""drop_block: contiguous blocks of feature maps."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact

from jaxdrop._core.annotations import AnyArray, Flag, MeshAxes, RateLike
from jaxdrop._core.axes import check_layout, check_sides
from jaxdrop._core.broadcast import broadcast_like, shared_shape
from jaxdrop._core.checks import check_broadcast, check_input, check_switch
from jaxdrop._core.key import AnyKey
from jaxdrop._core.mask import mask_in_jit, mask_params
from jaxdrop._core.mesh import Names, placed
from jaxdrop._core.mode import choose, resolve
from jaxdrop._core.rate import Rate, check_rate, scale
from jaxdrop._core.scale import product_dtype, scaled


def drop_block(
    key: AnyKey | None,
    x: Inexact[AnyArray, "..."],
    rate: RateLike,
    *,
    block_size: int | Sequence[int] | np.ndarray = 7,
    batch_axis: int | None = 0,
    channel_axis: int | None = -1,
    share_channels: bool = False,
    deterministic: Flag = False,
    mesh_axes: MeshAxes = (),
) -> Inexact[Array, "..."]:
    """Drop blocks of neighbouring elements in 1-D, 2-D, 3-D or larger feature maps.

    ``y = where(no seed in the block before i, x[i] / (1 - rate), 0)``, a seed at every position
    with probability ``gamma = 1 - (1 - rate)**(1 / n)``, n the number of elements of a block

    Args:
      key: a random key; may be None when deterministic is True or rate is 0 or 1.
      x: floating or complex array with spatial dimensions, usually a batch and a channel axis.
      rate: probability of dropping an element: a number, a traced scalar, or an array that
        broadcasts against (batch, 1, ..., channel), such as one rate per channel.
      block_size: side of a block, for all spatial dimensions or one for each. 1 is ``dropout``; a
        side larger than the map is allowed.
      batch_axis: the dimension of the examples; None if x is one example.
      channel_axis: the dimension of the maps; None if there is only one.
      share_channels: one mask for all maps of an example instead of one for each.
      deterministic: True for test time; a bool, or a traced bool scalar.
      mesh_axes: inside ``shard_map``, the mesh axes that split x, as in ``dropout``. A block goes
        on in the next shard; for that, each draws the seeds around it, and nothing is sent.

    Returns:
      Array like x with E[y] = x and Var[y] = x**2 rate / (1 - rate).

    Raises:
      ValueError: as ``dropout``, and if x does not have these axes or the rate varies along a side
        of a block.

    Exact at every position. The paper's ``gamma = rate / n * ...`` counts overlapping blocks twice,
    so that it drops less than asked, and puts no seeds near the border, so that the border is
    rarely dropped; it then rescales each batch by the share that was in fact kept. Here seeds also
    lie outside the map, so that every position is covered by exactly n of them, blocks at the
    border are cut off by it, and the constant scale ``1 / (1 - rate)`` preserves the mean.

    Not for: maps hardly larger than a block, which are mostly dropped as a whole; use
    ``spatial_dropout``, which does that by design.

    Reference:
      Ghiasi et al., DropBlock: A Regularization Method for Convolutional Networks, 2018.

    >>> import jax, jax.numpy as jnp, jaxdrop
    >>> y = jaxdrop.drop_block(jax.random.key(3), jnp.ones((1, 10, 1)), 0.3, block_size=3)
    >>> [int(v > 0) for v in y.ravel()]
    [1, 1, 1, 1, 1, 1, 0, 0, 0, 1]
    """
    x = check_input(x, "drop_block")
    names = placed(mesh_axes, key, x)
    batch, channel, spatial = check_layout(batch_axis, channel_axis, x.ndim, "drop_block")
    sides = check_sides(block_size, len(spatial), "block_size", "drop_block", at_least=1)
    share_channels = check_switch(share_channels, "share_channels")
    checked = check_rate(rate)
    block = dict(zip(spatial, sides, strict=True))
    shared = (channel,) if share_channels and channel is not None else ()
    own = tuple(1 if block.get(d, 1) > 1 or d in shared else n for d, n in enumerate(x.shape))
    against = f"{own}: drop_block takes one for each example or channel of x at most"
    check_broadcast(np.shape(checked.value), own, "a rate", against)
    key, test_mode = resolve(key, checked, deterministic, "drop_block")
    if test_mode is True:
        return x
    if checked.always and test_mode is False:
        return jnp.zeros_like(x)
    params = mask_params(Rate(_seed_rate(checked, math.prod(sides))))
    factor = scale(checked, product_dtype(x.dtype))
    y = _masked(key, x, params, factor, tuple(block.items()), shared, names)
    return choose(test_mode, x, y)


@functools.partial(jax.jit, static_argnames=("blocks", "shared", "names"), inline=True)
def _masked(
    key: Any,
    x: jax.Array,
    params: Any,
    factor: Any,
    blocks: tuple[tuple[int, int], ...],
    shared: tuple[int, ...],
    names: Names,
) -> jax.Array:
    sides = dict(blocks)

    # prevent_cse=False lets XLA fuse the recomputed mask into the backward loop.
    @functools.partial(jax.checkpoint, prevent_cse=False)
    def masked(key: Any, x: jax.Array, params: Any, factor: Any) -> jax.Array:
        grown = tuple(n + sides.get(d, 1) - 1 for d, n in enumerate(x.shape))
        own = shared_shape(x.shape, shared)
        keep = mask_in_jit(key, params, grown, shared, names, own)
        for d, side in blocks:
            keep = _all_along(keep, d, side)
        return jnp.where(
            broadcast_like(keep, x), scaled(x, broadcast_like(factor, x)), jnp.zeros((), x.dtype)
        )

    return masked(key, x, params, factor)


def _all_along(keep: jax.Array, d: int, side: int) -> jax.Array:
    """Return the and of every ``side`` neighbours along d.

    This is a window reduction, which XLA runs over the finished mask. Slices it would fuse with the
    mask, and compute the mask once for each slice.
    """
    window = tuple(side if i == d else 1 for i in range(keep.ndim))
    return jax.lax.reduce_window(keep, True, jax.lax.bitwise_and, window, (1,) * keep.ndim, "VALID")


def _seed_rate(rate: Rate, n: int) -> Any:
    """Return gamma with ``(1 - gamma)**n = 1 - rate``, without cancellation for small rates."""
    if not isinstance(rate.value, jax.Array):
        with np.errstate(divide="ignore"):  # rate 1 goes through -inf to gamma 1
            gamma = -np.expm1(np.log1p(-np.asarray(rate.value)) / n)
        return float(gamma) if gamma.ndim == 0 else gamma
    return -jnp.expm1(jnp.log1p(-rate.value) / n)
