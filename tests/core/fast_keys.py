"""Keys of fast_prng_impl, for the tests of it."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxdrop

FAST = jaxdrop.fast_prng_impl
FALSE_ALARM = 1e-8  # of each statistical test


def fast(seed: int = 0) -> jax.Array:
    return jax.random.key(seed, impl=FAST)


def data(keys: jax.Array) -> np.ndarray:
    return np.asarray(jax.random.key_data(keys))


def of(key_data: Any) -> jax.Array:
    return jax.random.wrap_key_data(jnp.asarray(key_data), impl=FAST)
