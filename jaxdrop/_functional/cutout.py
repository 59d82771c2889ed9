"""cutout: one block out of every example."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact

from jaxdrop._core.annotations import AnyArray, Flag, MeshAxes, RateLike
from jaxdrop._core.axes import check_layout, check_sides
from jaxdrop._core.bits import random_bits
from jaxdrop._core.broadcast import broadcast_like
from jaxdrop._core.checks import check_input
from jaxdrop._core.index import times
from jaxdrop._core.key import AnyKey
from jaxdrop._core.mask import is_kept, mask_params
from jaxdrop._core.mesh import Names, apart_from, part_of, placed
from jaxdrop._core.mode import choose, resolve
from jaxdrop._core.rate import check_rate


def cutout(
    key: AnyKey | None,
    x: Inexact[AnyArray, "..."],
    rate: RateLike = 1.0,
    *,
    size: int | Sequence[int],
    batch_axis: int | None = 0,
    channel_axis: int | None = -1,
    deterministic: Flag = False,
    mesh_axes: MeshAxes = (),
) -> Inexact[Array, "..."]:
    """Set one block of every example to zero, the same in all channels.

    ``y[n, i] = 0 where c[n] - size // 2 <= i < c[n] - size // 2 + size, else x[n, i]``, the center
    c uniform over the positions

    Args:
      key: a random key; may be None when deterministic is True or rate is 0. At rate 1 the block's
        position is still drawn.
      x: floating, complex or integer examples, usually images (batch, height, width, channels).
      rate: probability that an example has its block cut out; the paper uses 1.
      size: side of the block, for all spatial dimensions or one for each.
      batch_axis: the dimension of the examples; None if x is one example.
      channel_axis: the dimension of the channels; None if there is none.
      deterministic: True for test time; a bool, or a traced bool scalar.
      mesh_axes: inside ``shard_map``, the mesh axes that split x, as in ``dropout``. A shard's part
        of an example gets its part of the block.

    Returns:
      Array like x, not scaled: E[y] = (1 - rate * cover) x, where the cover of a position is the
      probability that the block covers it: ``size / n`` per dimension in the middle, less than
      ``size`` from the border, because the block is cut off there;
      ``Var[y] = rate * cover (1 - rate * cover) x**2``.

    Raises:
      ValueError: as ``dropout``, and if rate is not one number, or size does not fit the spatial
        dimensions of x.

    Not for: hidden layers, whose mean it moves; ``drop_block`` preserves it. Zero should be the
    mean of the input.

    Reference:
      DeVries and Taylor, Improved Regularization of Convolutional Neural Networks with Cutout,
      2017.

    >>> import jax, jax.numpy as jnp, jaxdrop
    >>> y = jaxdrop.cutout(jax.random.key(0), jnp.ones((1, 10, 1)), size=3)
    >>> int((y == 0).sum()) in (2, 3)  # 2 at the border
    True
    """
    x = check_input(x, "cutout", integers=True)
    names = placed(mesh_axes, key, x)
    batch, _, spatial = check_layout(batch_axis, channel_axis, x.ndim, "cutout")
    sides = check_sides(size, len(spatial), "size", "cutout", at_least=0)
    checked = check_rate(rate)
    if np.shape(checked.value):
        raise ValueError(
            f"got a rate of shape {np.shape(checked.value)}; cutout takes a scalar, the "
            "probability that an example is cut"
        )
    key, test_mode = resolve(key, checked, deterministic, "cutout", draws_at_one=True)
    if test_mode is True or x.size == 0:
        return x
    blocks = tuple(zip(spatial, sides, strict=True))
    return choose(test_mode, x, _cut(key, x, mask_params(checked), batch, blocks, names))


@functools.partial(jax.jit, static_argnames=("batch", "blocks", "names"), inline=True)
def _cut(
    key: Any,
    x: jax.Array,
    params: Any,
    batch: int | None,
    blocks: tuple[tuple[int, int], ...],
    names: Names,
) -> jax.Array:
    @functools.partial(jax.checkpoint, prevent_cse=False)
    def cut(key: Any, x: jax.Array, params: Any) -> jax.Array:
        examples = tuple(n if d == batch else 1 for d, n in enumerate(x.shape))
        of_example = apart_from(names, [d for d in range(x.ndim) if d != batch])
        words = random_bits(key, (*examples, len(blocks) + 1), mesh_axes=of_example)
        inside = ~is_kept(words[..., -1], params)
        for j, (d, side) in enumerate(blocks):
            part, parts = part_of(names, d)
            start = _below(words[..., j], x.shape[d] * parts) - np.int32(side // 2)
            line = tuple(n if e == d else 1 for e, n in enumerate(x.shape))
            at = jax.lax.broadcasted_iota(jnp.int32, line, d) + part * np.int32(x.shape[d])
            inside = inside & (at >= start) & (at < start + np.int32(side))
        return jnp.where(broadcast_like(inside, x), jnp.zeros((), x.dtype), x)

    return cut(key, x, params)


def _below(words: jax.Array, n: int) -> jax.Array:
    """Turn words into positions below n, each with probability 1 / n to within 2**-32."""
    return times(words, n)[1].astype(jnp.int32)  # the high word of the 64-bit product
