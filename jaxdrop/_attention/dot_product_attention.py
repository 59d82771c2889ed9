"""dot_product_attention: jax.nn's, with dropout."""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxdrop._attention.arguments import (
    check_bias,
    check_blocks,
    check_dropout,
    check_lengths,
    check_mask,
    check_qkv,
    check_scale,
    check_window,
    four_offsets,
)
from jaxdrop._attention.blockwise import BLOCK_KV, BLOCK_Q, blockwise, tile_size
from jaxdrop._attention.place import place
from jaxdrop._attention.problem import DropoutOn, Pairs, Problem
from jaxdrop._attention.reference import reference
from jaxdrop._core.annotations import AnyArray, Flag, MeshAxes, RateLike
from jaxdrop._core.checks import check_choice, check_switch
from jaxdrop._core.key import AnyKey

Implementation = Literal["reference", "blockwise", "pallas", "xla", "cudnn"]


def dot_product_attention(
    query: Float[AnyArray, "..."],
    key: Float[AnyArray, "..."],
    value: Float[AnyArray, "..."],
    bias: Float[AnyArray, "..."] | None = None,
    mask: Bool[AnyArray, "..."] | None = None,
    *,
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
    implementation: Implementation | None = None,
    block_q: int | None = None,
    block_kv: int | None = None,
    index_offset: Sequence[Any] = (),
    global_shape: Sequence[int] | None = None,
    mesh_axes: MeshAxes = (),
) -> Float[Array, "..."]:
    """Attention with dropout: ``jax.nn.dot_product_attention``, and a mask for its weights.

    ``y = where(m, softmax(scale * q k^T + bias) / (1 - rate), 0) v``,
    ``m = attention_keep_mask(dropout_key, (B, N, T, S), rate)``

    The mask is a function of key and position, so it is drawn tile by tile, and drawn again in the
    backward pass: memory is linear in T and S, and block sizes, shardings and batches change no bit
    of it.

    Args:
      query: [B, T, N, H] or [T, N, H].
      key: keys, [B, S, K, H] or [S, K, H]; N is a multiple of K (grouped and multi-query
        attention). The random key is ``dropout_key``.
      value: like key.
      bias: added to the logits; broadcasts against [B, N, T, S].
      mask: bool, True where a query may attend to a key; broadcasts against [B, N, T, S].
      scale: of the logits; None for 1 / sqrt(H).
      is_causal: query t attends to keys 0 to t.
      query_seq_lengths, key_value_seq_lengths: how many queries and keys of each example count,
        integers of shape [B].
      local_window_size: (left, right): query t attends to keys t - left to t + right; one number
        for both.
      dropout_rate: probability of dropping: a number, a traced scalar, or an array that broadcasts
        against [B, N, 1, 1] (a rate for each head, for instance). No gradient flows to it.
      dropout_key: the random key of the dropout, which may be traced; None where nothing is drawn.
      deterministic: True for test time; a bool, or a traced bool scalar.
      broadcast_dropout_dims: dimensions of [B, N, T, S] along which one decision is shared; (0, 1)
        is what flax calls ``broadcast_dropout``.
      dropout_on: "weights" drops weights after the softmax and scales the others by 1 / (1 - rate);
        "keys" is DropKey: keys are dropped before the softmax, which makes the others' weights sum
        to 1, with no scale.
      implementation: how it is computed: "blockwise" (None, where something is dropped) tile by
        tile; "reference" with all weights in memory; "pallas" in one GPU kernel, experimental: it
        has not run on a GPU (docs/attention.md says what it takes); "xla" and "cudnn" are those of
        jax.nn, which cannot drop. At rate 0 or test time None and "pallas" are jax.nn's: cuDNN on a
        GPU, where it takes these arguments, else XLA.
      block_q, block_kv: queries and keys of a tile, for "blockwise"; None chooses. With the queries
        sharded by XLA (mesh axes of type Auto), ``block_q=T`` keeps each device to its own; on
        axes of type Explicit that is so by itself.
      index_offset, global_shape: where these queries and keys lie in the whole [B, N, T, S], inside
        ``shard_map`` and for parts of a batch, as in ``random_bits``. Causality, window and
        lengths count from there.
      mesh_axes: in their place, for each dimension of query the mesh axis that splits it inside
        ``shard_map``, such as ("data", "rows", "model"): examples, queries, heads. Keys and values
        are split as query is in batch and heads, and whole in length; ``ring_attention`` takes
        those that are split. Without ``shard_map`` it is checked and does nothing.

    Returns:
      Array like query, in the dtype of value. Logits, softmax and sums are computed in float32 at
      least. A query that may attend to no key gives 0, also where DropKey drops all of its keys;
      jax.nn gives it the mean of all values.

    Not for: rates found for dropout of units: on attention weights 0.1 is usual.

    Raises:
      TypeError: for an argument of another kind: a random key as key, keys as dropout_key.
      ValueError: if shapes do not fit, a rate is outside [0, 1], dropout_key is None where a mask
        is drawn, an implementation cannot drop, or mesh_axes splits the size of a head, comes with
        index_offset, or does not fit the arrays, as in ``dropout``.

    Reference:
      Vaswani et al., Attention Is All You Need, 2017; Li et al., DropKey, 2023.

    >>> import jax, jax.numpy as jnp, jaxdrop
    >>> q = k = v = jax.random.normal(jax.random.key(0), (2, 300, 4, 16))
    >>> drop = dict(dropout_rate=0.1, dropout_key=jax.random.key(1))
    >>> a = jaxdrop.dot_product_attention(q, k, v, is_causal=True, **drop)
    >>> b = jaxdrop.dot_product_attention(q, k, v, is_causal=True, block_kv=64, **drop)
    >>> a.shape, bool(jnp.allclose(a, b, atol=1e-5))
    ((2, 300, 4, 16), True)
    """
    q, k, v = check_qkv(query, key, value)
    batch, length, heads, _ = q.shape
    shape = (batch, heads, length, k.shape[1])
    bias, mask = check_bias(bias, shape), check_mask(mask, shape)
    scale = check_scale(scale, q.shape[3])
    sizes = check_blocks(block_q, block_kv, implementation)
    if implementation is not None:
        check_choice(implementation, "implementation", get_args(Implementation))
    index_offset, global_shape, axes = place(
        mesh_axes, dropout_key, (query, key, value), shape, index_offset, global_shape
    )
    drop, test_mode = check_dropout(
        shape, q.dtype, dropout_rate, dropout_key, deterministic, broadcast_dropout_dims,
        dropout_on, index_offset, global_shape, axes=axes,
    )  # fmt: skip
    offset = four_offsets(index_offset)
    pairs = Pairs(
        check_switch(is_causal, "is_causal"),
        check_window(local_window_size),
        check_lengths(query_seq_lengths, "query_seq_lengths", batch),
        check_lengths(key_value_seq_lengths, "key_value_seq_lengths", batch),
        _first_pair(offset),
    )
    given = Problem(q, k, v, bias, mask, scale, pairs, drop)
    if test_mode is True:
        implementation = None if implementation == "pallas" else implementation
        if implementation in (None, "xla", "cudnn"):
            if not _moved(offset):
                return _of_jax(given, implementation).reshape(query.shape)
            _refuse(implementation, "index_offset")
    elif drop is None:
        return jnp.zeros_like(v, shape=query.shape)
    else:
        _refuse(implementation, "dropout")
    blocks = sizes[0] or tile_size(length, BLOCK_Q), sizes[1] or tile_size(shape[3], BLOCK_KV)
    if implementation == "pallas":
        from jaxdrop._attention.pallas import pallas  # what it imports is for GPUs

        return pallas(given, *blocks).reshape(query.shape)
    q, k, v = (jnp.swapaxes(a, 1, 2) for a in (q, k, v))
    given = given._replace(q=q, k=k, v=v)
    y = reference(given) if implementation == "reference" else blockwise(given, *blocks)
    return jnp.swapaxes(y, 1, 2).reshape(query.shape)


def _first_pair(offset: tuple[Any, ...]) -> tuple[Any, Any]:
    first, column = (o if isinstance(o, int) else o.astype(jnp.int32) for o in offset[2:])
    return first, column


def _moved(offset: tuple[Any, ...]) -> bool:
    """Whether queries or keys begin elsewhere than at 0, as far as is known."""
    return any(not (isinstance(o, int) and o == 0) for o in offset[2:])


def _refuse(implementation: Any, what: str) -> None:
    if implementation in ("xla", "cudnn"):
        raise ValueError(
            f"got {implementation=} with {what}, which jax.nn.dot_product_attention does not have: "
            "leave implementation out, or use 'blockwise' or 'reference'"
        )


def _of_jax(given: Problem, implementation: Any) -> jax.Array:
    q, k, v, bias, mask, scale, pairs, _ = given

    @jax.numpy_dtype_promotion("standard")  # jax.nn adds float32 to bfloat16
    def attend(implementation: Any) -> jax.Array:
        return jax.nn.dot_product_attention(
            q, k, v, bias, mask, scale=scale, is_causal=pairs.is_causal,
            query_seq_lengths=pairs.query_lengths, key_value_seq_lengths=pairs.key_lengths,
            local_window_size=pairs.window, implementation=implementation,
        )  # fmt: skip

    if implementation is None and jax.default_backend() == "gpu":
        try:
            return attend("cudnn")
        except (NotImplementedError, RuntimeError, ValueError):
            pass  # cuDNN does not take these shapes, dtypes or arguments
    return attend(implementation)
