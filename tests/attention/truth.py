"""Attention with dropout in NumPy and float64, from its definition."""

from typing import Any

import jax
import numpy as np

import jaxdrop


def truth(
    q: Any,
    k: Any,
    v: Any,
    bias: Any = None,
    mask: Any = None,
    *,
    rate: float = 0.0,
    key: jax.Array | None = None,
    is_causal: bool = False,
    window: tuple[int, int] | None = None,
    key_lengths: Any = None,
    on: str = "weights",
    broadcast_dims: tuple[int, ...] = (),
) -> np.ndarray:
    """Return the attention of [B, T, N, H] to [B, S, K, H]; a row that attends to nothing is 0."""
    q, k, v = (np.asarray(a, np.float64) for a in (q, k, v))
    shared = q.shape[2] // k.shape[2]
    k, v = (np.repeat(a, shared, axis=2) for a in (k, v))
    logits = np.einsum("btnh,bsnh->bnts", q, k) / np.sqrt(q.shape[3])
    if bias is not None:
        logits = logits + np.asarray(bias, np.float64)
    allowed = np.ones(logits.shape, bool)
    if mask is not None:
        allowed &= np.asarray(mask)
    row, column = np.arange(q.shape[1])[:, None], np.arange(k.shape[1])[None]
    if is_causal:
        allowed &= row >= column
    if window is not None:
        allowed &= (column >= row - window[0]) & (column <= row + window[1])
    if key_lengths is not None:
        allowed &= column < np.asarray(key_lengths)[:, None, None, None]
    kept = np.asarray(
        jaxdrop.attention_keep_mask(key, logits.shape, rate, broadcast_dropout_dims=broadcast_dims)
    )
    if on == "keys":
        allowed &= kept
    logits = np.where(allowed, logits, -np.inf)
    top = logits.max(axis=-1, keepdims=True)
    p = np.exp(logits - np.where(np.isinf(top), 0, top))
    total = p.sum(axis=-1, keepdims=True)
    p = p / np.where(total == 0, 1, total)
    if on == "weights":
        p = np.where(kept, p / (1 - rate) if rate < 1 else 0, 0)
    return np.einsum("bnts,bsnh->btnh", p, v)
