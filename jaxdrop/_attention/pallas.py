"""Attention with dropout in one GPU kernel, by Mosaic GPU. Experimental: it has not run on a GPU.

A warpgroup has 64 queries of a head and goes over the keys 64 at a time, as ``blockwise`` does; it
draws the mask in registers. The backward pass is blockwise's. Tests run it in interpret mode, and
``scripts/prove gpu`` compiles it for an H200.
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu

from jaxdrop._attention.blockwise import blockwise
from jaxdrop._attention.problem import Problem, no_gradient
from jaxdrop._core.broadcast import named_sharding
from jaxdrop._core.index import block_layout, high_index, weyl_index
from jaxdrop._core.mask import params_in_loop
from jaxdrop._core.mix import WEYL, rounds
from jaxdrop._core.varying import varies_over

ROWS, COLUMNS = 64, 64  # queries of a warpgroup, keys of a step
_IN_MEMORY = plgpu.TilingTransform((8, 64)), plgpu.SwizzleTransform(128)  # as wgmma reads it


def pallas(
    given: Problem, block_q: int, block_kv: int, *, interpret: Any = None, here: bool = True
) -> jax.Array:
    """``blockwise`` for [B, T, N, H] and [B, S, K, H], or an error that says what is not taken.

    Args:
      given: with a drop.
      block_q, block_kv: of the backward pass.
      interpret: InterpretGPUParams, to run on a CPU.
      here: False compiles for a GPU that is elsewhere.
    """
    what = refused(given)
    if what is not None:
        raise ValueError(
            f"got implementation='pallas' with {what}, which its kernel does not take: leave "
            "implementation out, or use 'blockwise'"
        )
    device = jax.devices()[0]
    if interpret is None and here and getattr(device, "compute_capability", None) != "9.0":
        raise ValueError(
            f"got implementation='pallas' on a device of kind {device.device_kind!r}, expected a "
            "GPU of compute capability 9.0, as H100 and H200: leave implementation out"
        )
    return _attend((interpret, block_q, block_kv), given)


def refused(given: Problem) -> str | None:
    """Say what of a call this kernel does not take; None if it takes all."""
    q, k, v, bias, mask, _, pairs, drop = given
    assert drop is not None
    rate: Any = getattr(drop.params, "threshold", getattr(drop.params, "value", None))
    found = {
        f"arrays of dtype {q.dtype}, no bfloat16 or float16": q.dtype
        not in (jnp.bfloat16, jnp.float16),
        f"heads of {q.shape[3]} numbers, not of 64 or 128": q.shape[3] not in (64, 128),
        f"{q.shape[1]} queries, no multiple of {ROWS}": q.shape[1] % ROWS,
        f"{k.shape[1]} keys, no multiple of {COLUMNS}": k.shape[1] % COLUMNS,
        "arrays without elements": not q.size or not k.size,
        "2**31 rows of weights or more": max(math.prod(drop.whole[:3]), drop.whole[3]) >= 2**31,
        "a bias": bias is not None,
        "a mask": mask is not None,
        "lengths": pairs.query_lengths is not None or pairs.key_lengths is not None,
        "a window": pairs.window is not None,
        "dropout_on='keys'": drop.on == "keys",
        "broadcast_dropout_dims": drop.broadcast_dims,
        "a rate for each head": jnp.size(rate) != 1,
        "arrays that mesh axes of type Explicit split": any(map(named_sharding, (q, k, v))),
        "a shard_map that has check_vma=True": any(map(varies_over, jax.tree.leaves(given))),
    }
    return next((what for what, holds in found.items() if holds), None)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attend(options: tuple[Any, int, int], given: Problem) -> jax.Array:
    q, k, v, _, _, scale, pairs, drop = given
    assert drop is not None
    batch, length, heads, size = q.shape
    keys, per_group = k.shape[1], heads // k.shape[2]
    params = params_in_loop(drop.params, jnp.float32)
    factor = jnp.reshape(jnp.asarray(params.scale, jnp.float32), 1)
    if params.drop_all is not None:  # a traced rate of 1
        factor = jnp.where(jnp.reshape(params.drop_all, 1), 0, factor)
    numbers = {
        "threshold": jnp.reshape(jnp.asarray(params.threshold, jnp.uint32), 1),
        "factor": factor,
        "scale": jnp.reshape(jnp.asarray(scale, jnp.float32), 1),
        "offset": jnp.stack([jnp.asarray(o).astype(jnp.int32) for o in drop.offset]),
    }
    _, of_heads, of_queries, of_keys = drop.whole

    def kernel(
        q_in: Any, k_in: Any, v_in: Any, words_in: Any, numbers: Any, out: Any,
        q_tile: Any, k_tile: Any, v_tile: Any, p_tile: Any, arrived: Any,
    ) -> None:  # fmt: skip
        b, h, i = (jax.lax.axis_index(name) for name in ("batch", "heads", "rows"))
        first, group = i * ROWS, jax.lax.div(h, jnp.int32(per_group))
        threshold, factor, scale = (numbers[name][0] for name in ("threshold", "factor", "scale"))
        words: Any = [words_in[n] for n in range(4)]
        b0, h0, i0, j0 = (numbers["offset"][d] for d in range(4))

        def fetch(source: Any, tile: Any) -> None:
            plgpu.copy_gmem_to_smem(source, tile, arrived)
            plgpu.barrier_wait(arrived)

        def step(block: Any, carry: Any) -> Any:
            top, total, acc = carry
            column = block * COLUMNS
            fetch(k_in.at[b, group, :, pl.ds(column, COLUMNS)], k_tile)
            fetch(v_in.at[b, pl.ds(column, COLUMNS), group], v_tile)
            logits = _product(q_tile, k_tile) * scale
            if pairs.is_causal:
                query = jax.lax.broadcasted_iota(jnp.int32, logits.shape, 0) + (first + i0)
                key = jax.lax.broadcasted_iota(jnp.int32, logits.shape, 1) + (column + j0)
                logits = jnp.where(query >= key, logits, -jnp.inf)
            new = jnp.maximum(top, jnp.max(logits, axis=1))
            p, shrink = jnp.exp(logits - _rows(new, COLUMNS)), jnp.exp(top - new)
            total = total * shrink + jnp.sum(p, axis=1)
            row = ((b + b0) * of_heads + (h + h0)) * of_queries + (first + i0)
            whole = drop.whole[0] * of_heads * of_queries, of_keys
            tile, base = block_layout(p.shape, (row, column + j0), whole)
            index = weyl_index(tile, base, WEYL, None, words[0])
            bits = rounds(index, high_index(tile, base), words)
            p_tile[...] = jnp.where(bits >= threshold, p * factor, 0).astype(v.dtype)
            plgpu.commit_smem()
            return new, total, acc * _rows(shrink, size) + _product(p_tile, v_tile)

        fetch(q_in.at[b, pl.ds(first, ROWS), h], q_tile)
        steps = jnp.int32(keys // COLUMNS)
        if pairs.is_causal:
            last = jnp.maximum(first + i0 + ROWS - j0, 1)
            steps = jnp.minimum(jax.lax.div(last + COLUMNS - 1, jnp.int32(COLUMNS)), steps)
        top = jnp.full(ROWS, jnp.finfo(jnp.float32).min, jnp.float32)
        zeros = jnp.zeros(ROWS, jnp.float32), jnp.zeros((ROWS, size), jnp.float32)
        _, total, acc = jax.lax.fori_loop(0, steps, step, (top, *zeros))
        q_tile[...] = (acc / _rows(jnp.where(total == 0, 1, total), size)).astype(v.dtype)
        plgpu.commit_smem()
        plgpu.copy_smem_to_gmem(q_tile, out.at[b, pl.ds(first, ROWS), h])
        plgpu.wait_smem_to_gmem(0)

    shapes = (ROWS, size), (size, COLUMNS), (COLUMNS, size), (ROWS, COLUMNS)
    tiles = [plgpu.SMEM(shape, v.dtype, transforms=_IN_MEMORY) for shape in shapes]
    return plgpu.kernel(
        kernel,
        out_type=jax.ShapeDtypeStruct(q.shape, v.dtype),
        grid=(heads, length // ROWS, batch),
        grid_names=("heads", "rows", "batch"),
        scratch_types=[*tiles, plgpu.Barrier()],
        compiler_params=plgpu.CompilerParams(lowering_semantics=plgpu.LoweringSemantics.Warpgroup),
        interpret=options[0],
    )(q, jnp.transpose(k, (0, 2, 3, 1)), v, drop.words, numbers)


def _forward(options: Any, given: Problem) -> tuple[jax.Array, Problem]:
    return _attend(options, given), given


def _backward(options: Any, given: Problem, dy: jax.Array) -> tuple[Problem]:
    def again(*parts: jax.Array) -> jax.Array:
        q, k, v = (jnp.swapaxes(a, 1, 2) for a in parts)
        return jnp.swapaxes(blockwise(given._replace(q=q, k=k, v=v), *options[1:]), 1, 2)

    _, pull = jax.vjp(again, given.q, given.k, given.v)
    q, k, v = pull(dy)
    return (jax.tree.map(no_gradient, given)._replace(q=q, k=k, v=v),)


_attend.defvjp(_forward, _backward)


def _product(a: Any, b: Any) -> jax.Array:
    """The float32 product of two tiles in shared memory."""

    def run(acc: Any) -> jax.Array:
        plgpu.wgmma(acc, a, b)
        return acc[...]

    return pl.run_scoped(run, plgpu.ACC((a.shape[0], b.shape[1]), jnp.float32))


def _rows(line: jax.Array, columns: int) -> jax.Array:
    return jax.lax.broadcast_in_dim(line, (line.shape[0], columns), (0,))
