"""Arrays, rules and ways to compute that the tests of attention share."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxdrop import dot_product_attention

KEY = jax.random.key(7)
B, T, S, N, K, H = 2, 21, 27, 4, 2, 8
WAYS: dict[str, dict[str, Any]] = {
    "reference": {"implementation": "reference"},
    "tiles": {"block_q": 8, "block_kv": 16},
    "columns": {"block_kv": 7},
    "rows": {"block_q": 5},
    "chosen": {},
}
RULES: dict[str, dict[str, Any]] = {
    "all": {},
    "causal": {"is_causal": True},
    "window": {"window": (3, 5)},
    "causal window": {"is_causal": True, "window": (6, 0)},
    "padded": {"key_lengths": jnp.array([27, 3])},
}


def normal(seed: int, *shape: int) -> jax.Array:
    return jax.random.normal(jax.random.key(seed), shape)


Q, KEYS, V = normal(0, B, T, N, H), normal(1, B, S, K, H), normal(2, B, S, K, H)
BIAS = normal(3, 1, N, T, S)
MASK = jax.random.bernoulli(jax.random.key(4), 0.8, (B, 1, T, S))


def ours(*arrays: Any, rate: Any = 0.0, on: Any = "weights", **options: Any) -> jax.Array:
    names = {
        "window": "local_window_size",
        "query_lengths": "query_seq_lengths",
        "key_lengths": "key_value_seq_lengths",
        "broadcast_dims": "broadcast_dropout_dims",
    }
    options = {names.get(name, name): value for name, value in options.items()}
    return dot_product_attention(
        *arrays, dropout_rate=rate, dropout_key=KEY, dropout_on=on, **options
    )
