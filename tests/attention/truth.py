"""Attention with dropout and its gradients in NumPy and float64, from the definition."""

from typing import Any

import jax
import numpy as np

import jaxdrop


def truth(q: Any, k: Any, v: Any, bias: Any = None, mask: Any = None, **options: Any) -> np.ndarray:
    """Return the attention of [B, T, N, H] to [B, S, K, H]; a row that attends to nothing is 0."""
    p, noise = weights_and_noise(q, k, bias, mask, **options)
    return np.einsum("bnts,bsnh->btnh", p * noise, _for_each_head(v, q))


def gradients(
    ct: Any, q: Any, k: Any, v: Any, bias: Any, mask: Any = None, **options: Any
) -> tuple[np.ndarray, ...]:
    """Return those of ``sum(ct * truth)`` for q, k, v and bias."""
    p, noise = weights_and_noise(q, k, bias, mask, **options)
    ct = np.asarray(ct, np.float64)
    heads_q, heads_k, heads_v = (_for_each_head(a, q) for a in (q, k, v))
    dw = noise * np.einsum("btnh,bsnh->bnts", ct, heads_v)
    ds = p * (dw - (p * dw).sum(axis=-1, keepdims=True))
    scaled = ds / np.sqrt(np.shape(q)[3])
    dk = np.einsum("bnts,btnh->bsnh", scaled, heads_q)
    dv = np.einsum("bnts,btnh->bsnh", p * noise, ct)
    grouped = (*np.shape(k)[:3], -1, np.shape(k)[3])
    shared = tuple(i for i in range(4) if np.shape(bias)[i] == 1)
    return (
        np.einsum("bnts,bsnh->btnh", scaled, heads_k),
        dk.reshape(grouped).sum(axis=3),
        dv.reshape(grouped).sum(axis=3),
        ds.sum(axis=shared, keepdims=True),
    )


def weights_and_noise(
    q: Any,
    k: Any,
    bias: Any,
    mask: Any,
    *,
    rate: float = 0.0,
    key: jax.Array | None = None,
    is_causal: bool = False,
    window: tuple[int, int] | None = None,
    query_lengths: Any = None,
    key_lengths: Any = None,
    on: str = "weights",
    broadcast_dims: tuple[int, ...] = (),
) -> tuple[np.ndarray, np.ndarray]:
    """Return the softmax and what dropout multiplies it by, both [B, N, T, S]."""
    q, k = np.asarray(q, np.float64), _for_each_head(k, q)
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
    if query_lengths is not None:
        allowed &= row < np.asarray(query_lengths)[:, None, None, None]
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
    noise = kept / (1 - rate) if on == "weights" and rate < 1 else np.full(p.shape, on == "keys")
    return p / np.where(total == 0, 1, total), noise


def _for_each_head(a: Any, q: Any) -> np.ndarray:
    """Repeat heads of keys or values for the heads of queries that share them."""
    a = np.asarray(a, np.float64)
    return np.repeat(a, np.shape(q)[2] // a.shape[2], axis=2)
