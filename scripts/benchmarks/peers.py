"""The dropouts that are compared, each as a function (key, x) -> y at rate 0.1."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import flax.linen as linen
import haiku as hk
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
    return hk.dropout(key, RATE, x)


def equinox(key: Any, x: jax.Array) -> jax.Array:
    return eqx.nn.Dropout(RATE)(x, key=key)


PEERS: dict[str, Apply] = {
    "flax linen": flax_linen,
    "flax nnx": flax_nnx,
    "haiku": haiku,
    "equinox": equinox,
}


def with_fast_key(apply: Apply) -> Apply:
    """The peer unchanged, its key's bits taken from jaxdrop's generator."""

    def run(key: Any, x: jax.Array) -> jax.Array:
        data = jax.random.key_data(key)
        return apply(jax.random.wrap_key_data(data, impl=jaxdrop.fast_prng_impl), x)

    return run
