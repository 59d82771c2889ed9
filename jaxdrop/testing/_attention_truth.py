"""Attention with a given mask in float64, its gradients, and how far rounding may take one off."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

Bounded = tuple[np.ndarray, np.ndarray]  # a value, and how far from it rounding may lead


class Inputs(NamedTuple):
    """Queries, keys, values and a cotangent, [B, T or S, N, H], in numbers that bfloat16 has."""

    q: np.ndarray
    k: np.ndarray
    v: np.ndarray
    ct: np.ndarray


def random_inputs(seed: int, shape: tuple[int, ...], size: int) -> Inputs:
    batch, heads, queries, keys = shape
    rng = np.random.default_rng(seed)

    def draw(length: int) -> np.ndarray:
        drawn = rng.standard_normal((batch, length, heads, size))
        return np.asarray(jnp.asarray(drawn, jnp.bfloat16), np.float32)

    return Inputs(draw(queries), draw(keys), draw(keys), draw(queries))


def bounded_output(given: Inputs, noise: Any, eps: float) -> Bounded:
    """Return ``(noise * softmax(q k^T / sqrt(H))) v`` with its bound.

    Args:
      noise: [B, N, T, S], 0 where dropped and 1 / (1 - rate) where kept.
      eps: of the dtype of the function's output, in which weights and result may be rounded;
        logits, softmax and sums are taken to be computed in float32 at least.
    """
    q, k, v, _ = _by_head(given)
    p, error = _weights(q, k, eps)
    w = p * noise
    return _rows(w @ v), _rows(error * (w @ np.abs(v)))


def bounded_gradients(given: Inputs, noise: Any, eps: float) -> dict[str, Bounded]:
    """Return the gradients of ``sum(ct * output)`` for query, key and value with their bounds."""
    q, k, v, ct = _by_head(given)
    scale = q.shape[-1] ** -0.5
    p, error = _weights(q, k, eps)
    w = p * noise
    dw = noise * (ct @ _t(v))
    ds = p * (dw - (p * dw).sum(-1, keepdims=True))
    # The same sums of absolute values: each operation adds its rounding relative to these.
    size = noise * (np.abs(ct) @ _t(np.abs(v)))
    size = p * (size + (p * size).sum(-1, keepdims=True))
    more = 4 * error + (2 * q.shape[-1] + sum(w.shape[2:])) * _EPS32
    return {
        "query": (_rows(scale * ds @ k), _rows(more * scale * size @ np.abs(k))),
        "key": (_rows(scale * _t(ds) @ q), _rows(more * scale * _t(size) @ np.abs(q))),
        "value": (_rows(_t(w) @ ct), _rows(more * _t(w) @ np.abs(ct))),
    }


def outside(found: Any, expected: Bounded) -> str | None:
    """Say where an array is farther off than it may be; None if it is nowhere."""
    value, bound = expected
    found = np.asarray(found, np.float64)
    excess = np.abs(found - value) / bound
    if (excess <= 1).all():  # not so for a NaN
        return None
    excess = np.nan_to_num(excess, nan=np.inf)
    i = tuple(int(n) for n in np.unravel_index(int(np.argmax(excess)), excess.shape))
    return (
        f"{int((excess > 1).sum())} of {found.size} elements are farther off than rounding, the "
        f"worst {found[i]:.6g} at {i}, expected {value[i]:.6g} to within {bound[i]:.2g}"
    )


_EPS32 = 2.0**-23


def _weights(q: np.ndarray, k: np.ndarray, eps: float) -> tuple[np.ndarray, float]:
    """Return the softmax, and the relative error of a sum of weights and values, at most.

    A logit is off by (H + 2) eps times the sum of |q k| / sqrt(H), which an exponential and the sum
    below it each turn into a relative error; then there are the sums over S keys, and at most four
    roundings in the dtype of the output.
    """
    size = q.shape[-1]
    logits = q @ _t(k) * size**-0.5
    largest = float((np.abs(q) @ _t(np.abs(k))).max()) * size**-0.5
    p = np.exp(logits - logits.max(-1, keepdims=True))
    error = (2 * (size + 2) * largest + 2 * k.shape[2] + 8) * _EPS32 + 4 * eps
    return p / p.sum(-1, keepdims=True), error


def _by_head(given: Inputs) -> list[np.ndarray]:
    return [np.moveaxis(a.astype(np.float64), 1, 2) for a in given]


def _rows(a: np.ndarray) -> np.ndarray:
    return np.moveaxis(a, 1, 2)


def _t(a: np.ndarray) -> np.ndarray:
    return np.swapaxes(a, -1, -2)
