"""Attention tile by tile: memory linear in the lengths, the mask drawn where it is used.

The softmax is summed up block of keys by block of keys (Milakov & Gimelshein 2018; Rabe & Staats
2021; Dao et al. 2022). Both loops are checkpointed, so that the backward pass computes the weights
again, and draws the same mask again, tile by tile.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxdrop._attention.problem import Problem, all_of, logits_of, values_of
from jaxdrop._core.broadcast import named_sharding
from jaxdrop._core.scale import product_dtype
from jaxdrop._core.varying import as_varying_as

BLOCK_Q, BLOCK_KV = 512, 256  # the largest of a tile; measured by scripts/bench attention


def tile_size(length: int, most: int) -> int:
    """Blocks of about one size, so that little is padded: 300 is two of 150, and not 256 and 44."""
    return -(-length // max(1, -(-length // most)))


class Sums(NamedTuple):
    """What queries have got from the keys so far: ``acc / total``."""

    top: jax.Array  # [B, N, t, 1], the largest logit, by which the sums are divided: exp(-top)
    total: jax.Array  # [B, N, t, 1]
    acc: jax.Array  # [B, N, t, H]

    def attention(self, dtype: Any) -> jax.Array:
        return (self.acc / jnp.where(self.total == 0, 1, self.total)).astype(dtype)


class KeyBlocks(NamedTuple):
    """Keys and values block by block, with what there is of the bias and the mask."""

    at: Any  # [blocks], the first key of each
    count: Any  # [blocks], how many keys of each are there, the others being padding; None for all
    k: jax.Array  # [blocks, B, K, s, H]
    v: jax.Array
    bias: jax.Array | None = None  # [blocks, ..., s]; None for one that they share, or none
    mask: jax.Array | None = None


@functools.partial(jax.jit, static_argnames=("block_q", "block_kv"), inline=True)
def blockwise(given: Problem, block_q: int, block_kv: int) -> jax.Array:
    """``reference``, tile by tile."""
    given = alike(given)
    q, k, v, bias, mask = given[:5]
    length, keys = q.shape[2], k.shape[2]
    rows, columns = min(block_q, length), min(block_kv, keys)
    sharding = named_sharding(q)
    if sharding is not None and sharding.spec[2] is not None:
        rows = length  # a loop over tiles of rows would run from device to device
    starts = jnp.arange(0, keys, columns, dtype=jnp.int32)
    count = keys - starts if keys % columns else None
    of_all = KeyBlocks(starts, count, blocks(k, 2, columns), blocks(v, 2, columns))

    @jax.checkpoint
    def some_rows(i: Any, q: jax.Array, bias: Any, mask: Any) -> jax.Array:
        own = of_all._replace(
            bias=_unless_shared(bias, 3, columns, keys), mask=_unless_shared(mask, 3, columns, keys)
        )
        sums = nothing_yet(q, given)
        return add_keys(sums, i, q, own, given._replace(bias=bias, mask=mask)).attention(v.dtype)

    if rows == length:
        return some_rows(0, q, bias, mask)
    starts = jnp.arange(0, length, rows, dtype=jnp.int32)
    arrays = (_unless_shared(a, 2, rows, length) for a in (bias, mask))

    def step(_: None, block: Any) -> Any:
        i, q, *arrays = block
        arrays = [whole if a is None else a for whole, a in zip((bias, mask), arrays, strict=True)]
        return None, some_rows(i, q, *arrays)

    _, y = jax.lax.scan(step, None, (starts, blocks(q, 2, rows), *arrays))
    return jnp.moveaxis(y, 0, 2).reshape(*q.shape[:2], -1, v.shape[3])[:, :, :length]


def alike(given: Problem, *others: jax.Array) -> Problem:
    """Mark inside ``shard_map`` what has a gradient as varying over all that anything varies over.

    Here: where it happens in a branch that some devices skip, the sum over devices that its
    gradient needs would wait for them forever.
    """
    q, k, v, bias, _, scale, *_ = given
    q, k, v, scale = (as_varying_as(a, (given, others)) for a in (q, k, v, jnp.asarray(scale)))
    bias = None if bias is None else as_varying_as(bias, (given, others))
    return given._replace(q=q, k=k, v=v, bias=bias, scale=scale)


def nothing_yet(q: jax.Array, given: Problem) -> Sums:
    """The sums of no key, for queries [B, N, t, H]."""
    acc = jnp.zeros_like(q, product_dtype(q.dtype))
    sums = Sums(jnp.full_like(acc[..., :1], -jnp.inf), acc[..., :1], acc)
    return jax.tree.map(lambda a: as_varying_as(a, given), sums)


def add_keys(sums: Sums, i: Any, q: jax.Array, keys: KeyBlocks, given: Problem) -> Sums:
    """Add what queries get from blocks of keys, tile by tile.

    Args:
      sums: what they have got so far.
      i: the first query.
      q: the queries, [B, N, t, H].
      keys: the blocks.
      given: the rest, with the bias and the mask that all blocks share.
    """

    def one_block(sums: Sums, block: KeyBlocks) -> Any:
        j, count, k, v, bias, mask = block
        bias = given.bias if bias is None else bias
        mask = given.mask if mask is None else mask
        shape = q.shape[2], k.shape[2]
        pairs, drop = given.pairs, given.drop

        def visit(sums: Sums) -> Sums:
            top, total, acc = sums
            logits = logits_of(q, k, given.scale, bias)
            column = jax.lax.broadcasted_iota(jnp.int32, (1, 1, 1, shape[1]), 3)
            inside = None if count is None else column < count
            allowed = all_of([mask, pairs.allowed(i, j, shape), inside])
            if allowed is not None:
                logits = jnp.where(allowed, logits, -jnp.inf)
            if drop is not None:
                logits = drop.keys(logits, i, j)
            new = jnp.maximum(top, jnp.max(logits, axis=-1, keepdims=True))
            new = jax.lax.stop_gradient(new)
            shift = jnp.where(new == -jnp.inf, 0, new)
            p, shrink = jnp.exp(logits - shift), jnp.exp(top - shift)
            total = total * shrink + jnp.sum(p, axis=-1, keepdims=True)
            if drop is not None:
                p = drop.weights(p, i, j)
            return Sums(new, total, acc * shrink + values_of(p, v))

        anything = pairs.any_allowed(i, j, shape)
        if anything is None:
            return visit(sums), None
        return jax.lax.cond(anything, visit, lambda sums: sums, sums), None

    return jax.lax.scan(jax.checkpoint(one_block, prevent_cse=False), sums, keys)[0]


def blocks(a: jax.Array, axis: int, size: int) -> jax.Array:
    """Split an axis into blocks, padded at the end, and put their number first."""
    length = a.shape[axis]
    count = -(-length // size)
    padding = [(0, 0)] * a.ndim
    padding[axis] = (0, count * size - length)
    if padding[axis][1]:
        a = jnp.pad(a, padding)
    shape = (*a.shape[:axis], count, size, *a.shape[axis + 1 :])
    return jnp.moveaxis(a.reshape(shape), axis, 0)


def _unless_shared(a: jax.Array | None, axis: int, size: int, length: int) -> jax.Array | None:
    """The blocks of an array; None for none, and for one that all blocks share: its axis is 1."""
    return None if a is None or (a.shape[axis] == 1 and length != 1) else blocks(a, axis, size)
