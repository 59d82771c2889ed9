"""ring_attention: attention whose queries and keys are split over devices by length."""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxdrop._attention.all_to_all import all_to_all
from jaxdrop._attention.arguments import (
    check_blocks,
    check_dropout,
    check_lengths,
    check_qkv,
    check_scale,
    check_window,
)
from jaxdrop._attention.blockwise import BLOCK_KV, BLOCK_Q, tile_size
from jaxdrop._attention.pieces import whole_parts, zigzag
from jaxdrop._attention.place import part_of_sequence
from jaxdrop._attention.problem import DropoutOn, Pairs, Problem
from jaxdrop._attention.ring import ring
from jaxdrop._core.annotations import AnyArray, Flag, MeshAxes, RateLike
from jaxdrop._core.checks import check_choice, check_switch
from jaxdrop._core.key import AnyKey

CALLER = "ring_attention"
Method = Literal["ring", "all_to_all"]


def ring_attention(
    query: Float[AnyArray, "..."],
    key: Float[AnyArray, "..."],
    value: Float[AnyArray, "..."],
    *,
    axis_name: str,
    method: Method = "ring",
    scale: float | None = None,
    is_causal: bool = False,
    query_seq_lengths: Int[AnyArray, " batch"] | None = None,
    key_value_seq_lengths: Int[AnyArray, " batch"] | None = None,
    local_window_size: int | tuple[int, int] | None = None,
    dropout_rate: RateLike = 0.0,
    dropout_key: AnyKey | None = None,
    deterministic: Flag = False,
    broadcast_dropout_dims: Sequence[int] = (),
    dropout_on: DropoutOn = "weights",
    block_q: int | None = None,
    block_kv: int | None = None,
    global_length: int | tuple[int, int] | None = None,
    mesh_axes: MeshAxes = (),
) -> Float[Array, "..."]:
    """Attention inside ``shard_map``, queries, keys and values split over a mesh axis by length.

    ``y = dot_product_attention(query, key, value, ...)`` of the whole arrays; each device gives and
    gets its part. The mask is that of the whole [B, N, T, S] in every bit, whatever the number of
    devices and the method, and no device holds a mask, weights, or the keys of all.

    Args:
      query: a device's part, [B, T, N, H] or [T, N, H]. The parts follow one another in the order
        of the devices.
      key, value: its part of them, [B, S, K, H] or [S, K, H]; N is a multiple of K.
      axis_name: the mesh axis of ``shard_map`` over which the lengths are split. Outside of
        ``shard_map`` nothing is split: this is ``dot_product_attention``.
      method: "ring" passes keys and values on from device to device, with memory for two parts of
        them; under a causal mask devices exchange halves first, so that all of them have the same
        work. "all_to_all" (Ulysses) gives each device all of the length for a part of the heads
        instead: N is a multiple of the number of devices, and too few key heads are repeated.
      scale, is_causal, query_seq_lengths, key_value_seq_lengths, local_window_size: as in
        ``dot_product_attention``, of the whole sequence.
      dropout_rate, dropout_key, deterministic, broadcast_dropout_dims, dropout_on: as there, the
        key being the same on all devices. A rate for each head is for "ring".
      block_q, block_kv: queries and keys of a tile; None chooses.
      global_length: of the whole queries and keys, (T, S), or one number for both, where that is no
        multiple of the number of devices: what is beyond is padding.
      mesh_axes: for each dimension of query the mesh axis that splits it, where batch and heads are
        split too, such as ("data", axis_name, "model"); None may stand for axis_name.

    Returns:
      Array like query, in the dtype of value; 0 for a query that may attend to no key, and for
      padding. Reverse-mode derivatives, with the same mask and as little memory; there are no
      forward-mode ones of "ring".

    Not for: a bias or a mask that are arrays, whose columns lie on other devices; keys that every
    device holds, which ``dot_product_attention`` takes with mesh_axes.

    Raises:
      TypeError, ValueError: as ``dot_product_attention``; if an array is not split over axis_name
        (known with ``check_vma``), or if the method cannot split its heads.

    Reference:
      Liu et al., Ring Attention with Blockwise Transformers for Near-Infinite Context, 2023;
      Jacobs et al., DeepSpeed Ulysses, 2023.

    >>> import jax, jaxdrop
    >>> mesh = jax.make_mesh((1,), ("sequence",), (jax.sharding.AxisType.Auto,))
    >>> q = k = v = jax.random.normal(jax.random.key(0), (2, 300, 4, 16))
    >>> def attend(q, k, v):
    ...     return jaxdrop.ring_attention(
    ...         q, k, v, axis_name="sequence", is_causal=True, dropout_rate=0.1,
    ...         dropout_key=jax.random.key(1))
    >>> split = jax.P(None, "sequence")
    >>> jax.jit(jax.shard_map(attend, mesh=mesh, in_specs=split, out_specs=split))(q, k, v).shape
    (2, 300, 4, 16)
    """
    q, k, v = check_qkv(query, key, value, CALLER)
    check_choice(method, "method", get_args(Method))
    block_q, block_kv = check_blocks(block_q, block_kv, None)
    at = part_of_sequence(axis_name, mesh_axes, dropout_key, (query, key, value), global_length)
    if method == "all_to_all" or at.devices == 1:
        y = all_to_all(
            q, k, v, at, axis_name, dropout_rate,
            scale=scale, is_causal=is_causal, local_window_size=local_window_size,
            query_seq_lengths=query_seq_lengths, key_value_seq_lengths=key_value_seq_lengths,
            dropout_key=dropout_key, deterministic=deterministic, dropout_on=dropout_on,
            broadcast_dropout_dims=broadcast_dropout_dims, block_q=block_q, block_kv=block_kv,
        )  # fmt: skip
        return y.reshape(query.shape)
    batch, length, heads, size = q.shape
    *_, queries, keys = at.whole
    scale = check_scale(scale, size)
    drop, test_mode = check_dropout(
        (batch, heads, min(length, queries), min(k.shape[1], keys)), q.dtype, dropout_rate,
        dropout_key, deterministic, broadcast_dropout_dims, dropout_on, at.offset, at.whole, CALLER,
    )  # fmt: skip
    lengths = (
        check_lengths(query_seq_lengths, "query_seq_lengths", batch),
        check_lengths(key_value_seq_lengths, "key_value_seq_lengths", batch),
    )
    pairs = Pairs(
        check_switch(is_causal, "is_causal"),
        check_window(local_window_size),
        _without_padding(lengths[0], queries, length * at.devices, batch),
        _without_padding(lengths[1], keys, k.shape[1] * at.devices, batch),
    )
    if drop is None and test_mode is False:
        return jnp.zeros_like(v, shape=query.shape)
    uneven = pairs.is_causal and pairs.window is None and min(length, k.shape[1]) > 1
    pieces = zigzag if uneven else whole_parts
    q, k, v = (jnp.swapaxes(a, 1, 2) for a in (q, k, v))
    y = ring(
        Problem(q, k, v, None, None, scale, pairs, drop),
        axis_name,
        (pieces(length, at.devices), pieces(k.shape[2], at.devices)),
        (
            block_q or tile_size(min(length, queries), BLOCK_Q),
            block_kv or tile_size(min(k.shape[2], keys), BLOCK_KV),
        ),
    )
    return jnp.swapaxes(y, 1, 2).reshape(query.shape)


def _without_padding(lengths: Any, whole: int, padded: int, batch: int) -> Any:
    """The lengths of the examples, where the sequence ends before its last part does."""
    if whole == padded:
        return lengths
    return jnp.full((batch,), whole, jnp.int32) if lengths is None else jnp.minimum(lengths, whole)
