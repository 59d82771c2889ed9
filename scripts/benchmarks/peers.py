"""The dropouts that are compared, each as a function (key, x) -> y at rate 0.1.

haiku and equinox are compared where they are installed.
"""

import importlib.util
from collections.abc import Callable
from typing import Any

import flax.linen as linen
import jax
from flax import nnx

import jaxdrop

RATE = 0.1
Apply = Callable[[Any, jax.Array], jax.Array]


def copy(key: Any, x: jax.Array) -> jax.Array:
    """The yardstick: read x, multiply, write."""
    return x * (1 / (1 - RATE))


def drop(key: Any, x: jax.Array) -> jax.Array:
    return jaxdrop.dropout(key, x, RATE)


def flax_linen(key: Any, x: jax.Array) -> Any:
    return linen.Dropout(RATE, deterministic=False).apply({}, x, rngs={"dropout": key})


def flax_nnx(key: Any, x: jax.Array) -> jax.Array:
    return nnx.Dropout(RATE, deterministic=False)(x, rngs=key)


def haiku(key: Any, x: jax.Array) -> jax.Array:
    import haiku as hk

    return hk.dropout(key, RATE, x)


def equinox(key: Any, x: jax.Array) -> jax.Array:
    import equinox as eqx

    return eqx.nn.Dropout(RATE)(x, key=key)


PEERS: dict[str, Apply] = {"flax linen": flax_linen, "flax nnx": flax_nnx}
PEERS |= {
    peer.__name__: peer for peer in (haiku, equinox) if importlib.util.find_spec(peer.__name__)
}


def with_fast_key(apply: Apply) -> Apply:
    """The peer unchanged, its key's bits taken from jaxdrop's generator."""

    def run(key: Any, x: jax.Array) -> jax.Array:
        data = jax.random.key_data(key)
        return apply(jax.random.wrap_key_data(data, impl=jaxdrop.fast_prng_impl), x)

    return run
