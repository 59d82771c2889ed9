"""The row-major index of every element, in uint32 limbs and element by element.

Nothing here knows how many devices hold the array: an iota per dimension, multiplied by its stride
and added up. XLA computes it inside whatever loop needs it, on whatever shard.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from jaxdrop._core.checks import check_integer, check_sequence, check_shape, known_values

Limbs = tuple[Any, Any]  # (low, high) uint32 words of one 64-bit number
_WORD = 1 << 32


class Block(NamedTuple):
    """Where an array lies inside the global one, from which the index of an element follows."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]  # in elements of the global array
    wide: bool  # indices of 2**32 and more occur
    axes: tuple[tuple[str, ...], ...] = ()  # mesh axes that split a dimension, if any splits one


def block_layout(
    shape: tuple[int, ...], index_offset: Sequence[Any], global_shape: Sequence[int] | None
) -> tuple[Block, Limbs]:
    """Check offset and global shape; return the block and the index of its first element.

    The shape comes from ``check_shape``, or from an array.
    """
    offsets = check_offsets(index_offset)
    if len(offsets) > len(shape):
        raise ValueError(
            f"got {len(offsets)} entries in index_offset for an array of shape {shape}; "
            "give at most one per dimension"
        )
    if global_shape is None:
        whole = shape
        if any(not (isinstance(o, int) and o == 0) for o in offsets[1:]):
            raise ValueError(
                f"got index_offset={offsets!r} without global_shape: an offset in a "
                "dimension other than the first needs the shape of the whole array"
            )
    else:
        whole = check_shape(global_shape, "global_shape")
        if len(whole) != len(shape) or any(n > m for n, m in zip(shape, whole, strict=True)):
            raise ValueError(
                f"got {global_shape=}: a block of shape {shape} does not fit in it; expected the "
                "shape of the whole array"
            )
    strides = tuple(math.prod(whole[d + 1 :]) for d in range(len(whole)))

    known, traced = 0, []
    for d, offset in enumerate(offsets):
        if isinstance(offset, int):
            limit = None if global_shape is None else whole[d] - shape[d]
            if offset < 0 or (limit is not None and offset > limit):
                raise ValueError(
                    f"got index_offset[{d}] = {offset}, expected 0 <= offset"
                    + ("" if limit is None else f" <= {limit} for a block in {global_shape=}")
                )
            known += offset * strides[d]
        else:
            traced.append(_times_limbs(_limbs(offset), strides[d]))
    symbolic = any(export.is_symbolic_dim(n) for n in whole)
    last = known + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
    count = 1 if symbolic else math.prod(whole) if global_shape is not None else last + 1
    if count > _WORD**2:
        raise ValueError(
            f"got shape {shape} with index_offset={offsets!r} and {global_shape=}: an array of "
            f"{count} elements, expected 2**64 at most, which an index can tell apart"
        )
    if symbolic:
        wide = True  # as far as is known
    else:
        wide = count > _WORD or (global_shape is None and bool(traced))
    base: Limbs = (np.uint32(known % _WORD), np.uint32(known // _WORD))
    for limbs in traced:
        base = add(base, limbs)
    return Block(shape, strides, wide), base


def check_offsets(index_offset: Any) -> tuple[Any, ...]:
    """Return each entry as a Python int, or unchanged if it is traced; or raise an error."""
    expected = "a tuple with one integer per leading dimension, for example (first_row,)"
    entries = check_sequence(index_offset, "index_offset", expected)
    return tuple(_offset(entry, d) for d, entry in enumerate(entries))


def _offset(entry: Any, d: int) -> Any:
    if isinstance(entry, jax.Array):
        if entry.ndim or not jnp.issubdtype(entry.dtype, jnp.integer):
            raise TypeError(
                f"got index_offset[{d}] of dtype {entry.dtype} and shape {entry.shape}, expected "
                "one integer"
            )
        if known_values(entry) is None:
            return entry
    return check_integer(entry, f"index_offset[{d}]", "one integer")


def _limbs(offset: jax.Array) -> Limbs:
    """The two words of a traced integer, which is taken to be 0 or more."""
    if offset.dtype.itemsize < 8:
        return offset.astype(jnp.uint32), np.uint32(0)
    wide = offset.astype(jnp.uint64)
    return wide.astype(jnp.uint32), (wide >> np.uint64(32)).astype(jnp.uint32)


def _times_limbs(a: Limbs, by: int) -> Limbs:
    """The product of a 64-bit number and a Python integer, mod 2**64."""
    low, high = times(a[0], by)
    return low, high + a[1] * np.uint32(by % _WORD)


def weyl_index(
    block: Block, base: Limbs, multiplier: int, sharding: Any = None, start: Any = 0
) -> jax.Array:
    """Return ``start + index * multiplier`` mod 2**32, the multiplier folded into the strides.

    ``start`` is added first: XLA would hoist a sum without it out of a loop over layers.
    """
    total = jnp.asarray(base[0]) * np.uint32(multiplier) + start
    for d, stride in enumerate(block.strides):
        if block.shape[d] != 1:
            low, _ = _along(block.shape[d])
            step = low * np.uint32(stride * multiplier % _WORD)
            total = total + _across(step, block.shape, d, sharding)
    return _fill(total, block.shape, sharding)


def high_index(block: Block, base: Limbs, sharding: Any = None) -> jax.Array | None:
    """Return ``index >> 32``, or None where it is zero everywhere."""
    if not block.wide:
        return None
    total = base
    for d, stride in enumerate(block.strides):
        if block.shape[d] != 1:
            low, high = _along(block.shape[d])
            known = not export.is_symbolic_dim(block.shape[d])
            step = times(low, stride, block.shape[d] if known else _WORD)
            if high is not None:
                step = (step[0], step[1] + high * np.uint32(stride % _WORD))
            limbs = (jnp.broadcast_to(limb, low.shape) for limb in step)
            first, second = (_across(limb, block.shape, d, sharding) for limb in limbs)
            total = add(total, (first, second))
    return _fill(jnp.asarray(total[1]), block.shape, sharding)


def _along(count: int) -> tuple[jax.Array, jax.Array | None]:
    """The positions 0 to count - 1, as low and (beyond 2**32 of them) high word."""
    if export.is_symbolic_dim(count) or count <= _WORD:
        return jax.lax.iota(jnp.uint32, count), None
    half = 1 << 31  # count in two dimensions, since a uint32 iota cannot count past 2**32
    shape = (-(-count // half), half)
    row = jax.lax.broadcasted_iota(jnp.uint32, shape, 0)
    column = jax.lax.broadcasted_iota(jnp.uint32, shape, 1)
    low, high = row * np.uint32(half) + column, jnp.right_shift(row, np.uint32(1))
    return low.reshape(-1)[:count], high.reshape(-1)[:count]


def _across(line: jax.Array, shape: tuple[int, ...], d: int, sharding: Any) -> jax.Array:
    """Repeat what lies along dimension d over the other dimensions."""
    return jax.lax.broadcast_in_dim(line, shape, (d,), out_sharding=sharding)


def _fill(value: jax.Array, shape: tuple[int, ...], sharding: Any) -> jax.Array:
    if value.shape == shape:
        return value
    return jax.lax.broadcast_in_dim(value, shape, (), out_sharding=sharding)


def times(a: Any, by: int, count: int = _WORD) -> Limbs:
    """The 64-bit product of uint32 values below count and a Python integer (mod 2**64)."""
    low = a * np.uint32(by % _WORD)
    if (count - 1) * by < _WORD:
        return low, np.uint32(0)
    b0, b1 = np.uint32(by & 0xFFFF), np.uint32(by >> 16 & 0xFFFF)
    half = np.uint32(0xFFFF)
    a0, a1 = a & half, jnp.right_shift(a, np.uint32(16))
    t = a0 * b0
    u = a1 * b0 + jnp.right_shift(t, np.uint32(16))
    v = a0 * b1 + (u & half)
    high = a1 * b1 + jnp.right_shift(u, np.uint32(16)) + jnp.right_shift(v, np.uint32(16))
    return low, high + a * np.uint32(by // _WORD % _WORD)


def add(a: Limbs, b: Limbs) -> Limbs:
    """The sum of two 64-bit numbers, mod 2**64."""
    low = jnp.asarray(a[0]) + b[0]
    return low, a[1] + b[1] + (low < b[0]).astype(jnp.uint32)
