"""Attention tile by tile: memory linear in the lengths, the mask drawn where it is used.

The softmax is summed up block of keys by block of keys (Milakov & Gimelshein 2018; Rabe & Staats
2021; Dao et al. 2022). Both loops are checkpointed, so that the backward pass computes the weights
again, and draws the same mask again, tile by tile.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from jaxdrop._attention.problem import Problem, all_of, logits_of, values_of
from jaxdrop._core.broadcast import named_sharding
from jaxdrop._core.scale import product_dtype
from jaxdrop._core.varying import as_varying_as


@functools.partial(jax.jit, static_argnames=("block_q", "block_kv"), inline=True)
def blockwise(given: Problem, block_q: int, block_kv: int) -> jax.Array:
    """``reference``, tile by tile."""
    q, k, v, bias, mask, scale, pairs, drop = given
    # Inside shard_map, here: where it happens in a branch that some devices skip, the sum over
    # devices that its gradient needs would wait for them forever.
    drawn = (drop.words, drop.params, drop.offset) if drop else None
    asked = (pairs.query_lengths, pairs.key_lengths, pairs.offset)
    others = (q, k, v, bias, mask, drawn, asked)
    q, k, v = (as_varying_as(a, others) for a in (q, k, v))
    if bias is not None:
        bias = as_varying_as(bias, others)
    length, keys = q.shape[2], k.shape[2]
    rows, columns = min(block_q, length), min(block_kv, keys)
    sharding = named_sharding(q)
    if sharding is not None and sharding.spec[2] is not None:
        rows = length  # a loop over tiles of rows would run from device to device
    starts = jnp.arange(0, keys, columns, dtype=jnp.int32)
    kv_blocks = starts, _blocks(k, 2, columns, keys), _blocks(v, 2, columns, keys)

    @jax.checkpoint
    def some_rows(i: Any, q: jax.Array, bias: Any, mask: Any) -> jax.Array:
        blocks = *kv_blocks, _blocks(bias, 3, columns, keys), _blocks(mask, 3, columns, keys)

        def one_block(carry: Any, block: Any) -> Any:
            j, k, v, bias_here, mask_here = block
            bias_here = bias if bias_here is None else bias_here
            mask_here = mask if mask_here is None else mask_here
            shape = q.shape[2], columns

            def visit(carry: Any) -> Any:
                top, total, acc = carry
                logits = logits_of(q, k, scale, bias_here)
                inside = _inside(j, columns, keys)
                allowed = all_of([mask_here, pairs.allowed(i, j, shape), inside])
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
                return new, total, acc * shrink + values_of(p, v)

            anything = pairs.any_allowed(i, j, shape)
            if anything is None:
                return visit(carry), None
            return jax.lax.cond(anything, visit, lambda carry: carry, carry), None

        dtype = product_dtype(q.dtype)
        acc = jnp.zeros_like(q, dtype)
        start = jnp.full_like(acc[..., :1], -jnp.inf), acc[..., :1], acc
        start = jax.tree.map(lambda a: as_varying_as(a, others), start)
        step = jax.checkpoint(one_block, prevent_cse=False)
        (_, total, acc), _ = jax.lax.scan(step, start, blocks)
        return (acc / jnp.where(total == 0, 1, total)).astype(v.dtype)

    if rows == length:
        return some_rows(0, q, bias, mask)
    starts = jnp.arange(0, length, rows, dtype=jnp.int32)
    each = starts, _blocks(q, 2, rows, length), *(_blocks(a, 2, rows, length) for a in (bias, mask))

    def step(_: None, block: Any) -> Any:
        i, q, *arrays = block
        arrays = [whole if a is None else a for whole, a in zip((bias, mask), arrays, strict=True)]
        return None, some_rows(i, q, *arrays)

    _, y = jax.lax.scan(step, None, each)
    return jnp.moveaxis(y, 0, 2).reshape(*q.shape[:2], -1, v.shape[3])[:, :, :length]


def _blocks(a: jax.Array | None, axis: int, size: int, length: int) -> jax.Array | None:
    """Split an axis into blocks, padded at the end, and put their number first.

    None for None, and for an array that all blocks share, whose axis is 1.
    """
    if a is None or (a.shape[axis] == 1 and length != 1):
        return None
    count = -(-length // size)
    padding = [(0, 0)] * a.ndim
    padding[axis] = (0, count * size - length)
    if padding[axis][1]:
        a = jnp.pad(a, padding)
    shape = (*a.shape[:axis], count, size, *a.shape[axis + 1 :])
    return jnp.moveaxis(a.reshape(shape), axis, 0)


def _inside(j: Any, columns: int, keys: int) -> jax.Array | None:
    """Where a block of keys lies within them; None if every block does."""
    if keys % columns == 0:
        return None
    return (j + jax.lax.broadcasted_iota(jnp.int32, (1, 1, 1, columns), 3)) < keys
