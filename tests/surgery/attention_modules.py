"""Attention modules of flax, and the mask that jaxdrop's dropout gives them."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from tests.attention.truth import truth

B, T, HEADS, WIDTH = 3, 6, 2, 8
X = jax.random.normal(jax.random.key(0), (B, T, WIDTH))
PADDING = np.arange(T) < np.array([6, 4, 5])[:, None]
MASK = nn.make_attention_mask(PADDING, PADDING, dtype=jnp.bool_) & nn.make_causal_mask(
    jnp.ones((B, T)), dtype=jnp.bool_
)
KEY = jax.random.key(7)


def nnx_attention(rate: float = 0.5, **options: Any) -> nnx.MultiHeadAttention:
    return nnx.MultiHeadAttention(
        HEADS, WIDTH, dropout_rate=rate, decode=False, rngs=nnx.Rngs(0), **options
    )


def linen_attention(rate: float = 0.5, kind: Any = nn.MultiHeadDotProductAttention) -> Any:
    return kind(HEADS, dropout_rate=rate, broadcast_dropout=False)


def own_attention(query: Any, key: Any, value: Any, **given: Any) -> Any:
    return nnx.dot_product_attention(query, key, value, **given)


class Capture:
    """Keeps what the attention_fn inside a module was given, and what it returned."""

    def __init__(self, attention_fn: Callable[..., Any]):
        self.attention_fn, self.calls = attention_fn, []  # type: ignore[var-annotated]

    def __call__(self, query: Any, key: Any, value: Any, **given: Any) -> Any:
        y = self.attention_fn(query, key, value, **given)
        self.calls.append((query, key, value, given, y))
        return y


def check_against_truth(capture: Capture, rate: float, shared: bool) -> None:
    ((query, key, value, given, y),) = capture.calls
    expected = truth(
        query, key, value, None, MASK, rate=rate, key=given["dropout_rng"],
        broadcast_dims=(0, 1) if shared else (),
    )  # fmt: skip
    np.testing.assert_allclose(y, expected, rtol=0, atol=5e-6)
    # The rule catches a mask that is shared where it should not be, and the other way round.
    wrong = truth(
        query, key, value, None, MASK, rate=rate, key=given["dropout_rng"],
        broadcast_dims=() if shared else (0, 1),
    )  # fmt: skip
    assert np.abs(np.asarray(y) - wrong).max() > 0.01
