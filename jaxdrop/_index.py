"""The row-major index of every element, in uint32 limbs and element by element.

Nothing here knows how many devices hold the array: an iota per dimension, multiplied by its stride
and added up. XLA computes it inside whatever loop needs it, on whatever shard.
"""

import math
import operator
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

Limbs = tuple[Any, Any]  # (low, high) uint32 words of one 64-bit number
_WORD = 1 << 32


class Block(NamedTuple):
    """Where an array lies inside the global one: what the index of an element follows from."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]  # in elements of the global array
    wide: bool  # indices of 2**32 and more occur


def locate(
    shape: Sequence[int], index_offset: Sequence[Any], global_shape: Sequence[int] | None
) -> tuple[Block, Limbs]:
    """Check offset and global shape; return the block and the index of its first element."""
    shape = tuple(size(n) for n in shape)
    if isinstance(index_offset, str) or not isinstance(index_offset, Sequence):
        raise TypeError(
            f"got index_offset={index_offset!r}, expected a tuple with one integer per leading "
            "dimension, for example (first_row,)"
        )
    if len(index_offset) > len(shape):
        raise ValueError(
            f"got {len(index_offset)} entries in index_offset for an array of shape {shape}; "
            "give at most one per dimension"
        )
    if global_shape is None:
        whole = shape
        if any(not (isinstance(o, int) and o == 0) for o in index_offset[1:]):
            raise ValueError(
                f"got index_offset={tuple(index_offset)!r} without global_shape: an offset in a "
                "dimension other than the first needs the shape of the whole array"
            )
    else:
        whole = tuple(size(n) for n in global_shape)
        if len(whole) != len(shape) or any(n > m for n, m in zip(shape, whole, strict=True)):
            raise ValueError(f"a block of shape {shape} does not fit in {global_shape=}")
    strides = tuple(math.prod(whole[d + 1 :]) for d in range(len(whole)))

    known, low_high = 0, []
    for d, offset in enumerate(index_offset):
        if isinstance(offset, (int, np.integer)):
            limit = None if global_shape is None else whole[d] - shape[d]
            if offset < 0 or (limit is not None and offset > limit):
                raise ValueError(
                    f"got index_offset[{d}] = {offset}, expected 0 <= offset"
                    + ("" if limit is None else f" <= {limit} for a block in {global_shape=}")
                )
            known += int(offset) * strides[d]
        else:
            low_high.append(times(_scalar_offset(offset, d), strides[d]))
    last = known + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
    if any(export.is_symbolic_dim(n) for n in whole):
        wide = True  # for all that is known
    elif global_shape is not None:
        wide = math.prod(whole) > _WORD
    else:
        wide = bool(low_high) or last >= _WORD
    base: Limbs = (np.uint32(known % _WORD), np.uint32(known // _WORD % _WORD))
    for limbs in low_high:
        base = _add(base, limbs)
    return Block(shape, strides, wide), base


def size(n: Any) -> Any:
    """Return a dimension's size as an int; the symbolic ones of ``jax.export`` stay as they are."""
    return n if export.is_symbolic_dim(n) else operator.index(n)


def weyl_index(
    block: Block, base: Limbs, multiplier: int, sharding: Any = None, start: Any = 0
) -> jax.Array:
    """Return ``start + index * multiplier`` mod 2**32, the multiplier folded into the strides.

    ``start`` is added first: XLA would lift a sum that lacks it out of a loop over layers.
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
            total = _add(total, (first, second))
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


def _scalar_offset(offset: Any, d: int) -> jax.Array:
    array = jnp.asarray(offset)
    if array.ndim != 0 or not jnp.issubdtype(array.dtype, jnp.integer):
        raise TypeError(
            f"got index_offset[{d}] of dtype {array.dtype} and shape {array.shape}, "
            "expected one integer"
        )
    return array.astype(jnp.uint32)


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


def _add(a: Limbs, b: Limbs) -> Limbs:
    low = jnp.asarray(a[0]) + b[0]
    return low, a[1] + b[1] + (low < b[0]).astype(jnp.uint32)
