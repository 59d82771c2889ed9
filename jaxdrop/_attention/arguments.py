"""The arguments of attention: what is wrong becomes a sentence, before any work."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from jaxdrop._attention.problem import Drop
from jaxdrop._core.checks import (
    array_of,
    check_choice,
    check_count,
    check_dims,
    check_integer,
    check_number,
    check_real_input,
)
from jaxdrop._core.index import check_offsets
from jaxdrop._core.key import is_typed
from jaxdrop._core.mask import mask_layout, mask_params
from jaxdrop._core.mesh import Names
from jaxdrop._core.mode import resolve
from jaxdrop._core.rate import Rate, check_rate, check_rate_shape
from jaxdrop._core.scale import product_dtype

CALLER = "dot_product_attention"


def check_qkv(
    query: Any, key: Any, value: Any, caller: str = CALLER
) -> tuple[jax.Array, jax.Array, jax.Array]:
    found = []
    for name, given in {"query": query, "key": key, "value": value}.items():
        if name == "key" and isinstance(given, jax.Array) and is_typed(given):
            raise TypeError(
                f"got a random key as key, expected the keys of attention; {caller} takes the "
                "random key as dropout_key"
            )
        array = check_real_input(given, caller, name, "as softmax is of real numbers")
        if array.ndim not in (3, 4):
            raise ValueError(
                f"got {name} of shape {array.shape}, expected [batch, length, heads, size] or "
                "[length, heads, size]"
            )
        found.append(array)
    q, k, v = found
    if not q.ndim == k.ndim == v.ndim or not q.dtype == k.dtype == v.dtype:
        raise ValueError(
            f"got query, key and value of shapes {q.shape}, {k.shape}, {v.shape} and dtypes "
            f"{q.dtype}, {k.dtype}, {v.dtype}, expected the same number of dimensions and one dtype"
        )
    q, k, v = (a if a.ndim == 4 else a[None] for a in found)
    if k.shape != v.shape or q.shape[0] != k.shape[0] or q.shape[3] != k.shape[3]:
        raise ValueError(
            f"got query, key and value of shapes {query.shape}, {key.shape}, {value.shape}, "
            "expected key and value of one shape, and batch and size of a head as in query"
        )
    if not k.shape[2] or q.shape[2] % k.shape[2]:
        raise ValueError(
            f"got {q.shape[2]} heads of queries and {k.shape[2]} of keys, expected a multiple"
        )
    return q, k, v


def check_bias(bias: Any, shape: tuple[int, ...]) -> jax.Array | None:
    if bias is None:
        return None
    array = check_real_input(bias, CALLER, "bias", "which is added to the logits")
    return _against(array, shape, "bias")


def check_mask(mask: Any, shape: tuple[int, ...]) -> jax.Array | None:
    if mask is None:
        return None
    expected = "expected a bool array that is True where a query attends to a key"
    array = array_of(mask, "mask", expected)
    if array.dtype != jnp.bool_:
        raise TypeError(
            f"got a mask of dtype {array.dtype}, {expected}; what is added to logits is bias"
        )
    return _against(array, shape, "mask")


def _against(array: jax.Array, shape: tuple[int, ...], name: str) -> jax.Array:
    if array.ndim == 3:
        array = array[None]
    if array.ndim != 4 or any(n not in (1, m) for n, m in zip(array.shape, shape, strict=True)):
        raise ValueError(
            f"got {name} of shape {array.shape}, expected one that broadcasts against "
            f"[batch, heads, queries, keys], here {shape}"
        )
    return array


def check_scale(scale: Any, size: int) -> Any:
    if scale is None:
        return 1 / math.sqrt(max(size, 1))
    return check_number(scale, "scale", "a finite number", math.isfinite)


def check_window(window: Any) -> tuple[int, int] | None:
    if window is None:
        return None
    expected = "keys to the left and to the right of a query: two integers of 0 or more, or one"
    pair = (window, window) if not isinstance(window, tuple | list) else window
    sides = [check_integer(side, "local_window_size", expected) for side in pair]
    if len(sides) != 2 or min(sides) < 0:
        raise ValueError(f"got local_window_size={window!r:.60}, expected {expected}")
    return sides[0], sides[1]


def check_lengths(lengths: Any, name: str, batch: int) -> jax.Array | None:
    if lengths is None:
        return None
    expected = f"expected an array of {batch} integers, one for each example"
    array = array_of(lengths, name, expected)
    if not jnp.issubdtype(array.dtype, jnp.integer):
        raise TypeError(f"got {name} of dtype {array.dtype}, {expected}")
    if array.shape != (batch,):
        raise ValueError(f"got {name} of shape {array.shape}, {expected}")
    return array.astype(jnp.int32)


def check_blocks(block_q: Any, block_kv: Any, implementation: Any) -> list[int | None]:
    sizes = {"block_q": block_q, "block_kv": block_kv}
    for name, size in sizes.items():
        if size is None:
            continue
        sizes[name] = check_count(size, name, "of a tile")
        if implementation not in (None, "blockwise"):
            raise ValueError(
                f"got {name}={size} with {implementation=}, which has no tiles: leave {name} out, "
                "or use implementation='blockwise'"
            )
    return list(sizes.values())


def check_dropout(
    shape: tuple[int, ...],
    dtype: Any,
    rate: Any,
    key: Any,
    deterministic: Any,
    dims: Any,
    on: Any,
    index_offset: Any,
    global_shape: Any,
    caller: str = CALLER,
    axes: Names = (),
) -> tuple[Drop | None, Any]:
    """Return what is dropped of [B, N, T, S], and the test mode.

    Nothing is dropped, None, if the test mode is True; everything, also None, if it is False.
    """
    check_choice(on, "dropout_on", ("weights", "keys"))
    if (inexact := _inexact_dtype(key)) is not None:
        raise TypeError(
            f"got an array of dtype {inexact} as dropout_key, expected a random key made "
            "by jax.random.key(seed); the keys of attention are the second argument"
        )
    block, _ = mask_layout(shape, dims, "fast", index_offset, global_shape)
    rate = check_rate(rate, "dropout_rate")
    check_rate_shape(rate, (*block.shape[:2], 1, 1))
    words, test_mode = resolve(key, rate, deterministic, caller)
    offset = four_offsets(index_offset)
    if words is None or test_mode is True:
        return None, test_mode
    if test_mode is not False:
        rate = Rate(jnp.where(test_mode, 0.0, jnp.asarray(rate.value, jnp.float32)))
    whole = shape if global_shape is None else tuple(global_shape)
    params = mask_params(rate, product_dtype(dtype) if on == "weights" else None)
    shared = tuple(sorted(check_dims(dims, 4)))
    return Drop(words.array, params, offset, on, shared, whole, axes), test_mode


def _inexact_dtype(key: Any) -> Any:
    """The dtype of what cannot be a random key, or None."""
    dtype = getattr(key, "dtype", None)
    return dtype if dtype is not None and jnp.issubdtype(dtype, jnp.inexact) else None


def four_offsets(index_offset: Any) -> tuple[Any, ...]:
    offset = check_offsets(index_offset)
    for d, entry in enumerate(offset):
        if isinstance(entry, int) and entry >= 2**31:
            raise ValueError(f"got index_offset[{d}] = {entry}, {CALLER} expects one below 2**31")
    return (*offset, *(0,) * (4 - len(offset)))
