"""Keys: what counts as one, and the four words that the generator takes from it."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import random as jex_random

# Counters far from 0, 1, 2, ..., which jax.random.split and fold_in use on the same key.
_TAG = 0x6A64726F  # "jdro"


def check_key(key: Any, caller: str) -> jax.Array:
    """Return a scalar random key, or raise a sentence that says what was given instead."""
    how = f"pass {caller} a key made by jax.random.key(seed)"
    if key is None:
        raise ValueError(f"{caller} needs a random key and got None; {how}")
    if isinstance(key, (bool, int, float, str, np.integer, np.floating)):
        raise TypeError(
            f"got {key!r} where a random key belongs; {how}"
            + (f", here jax.random.key({key})" if type(key) is int else "")
        )
    if not isinstance(key, (jax.Array, np.ndarray)):
        raise TypeError(f"got {type(key).__name__} where a random key belongs; {how}")
    if jax.dtypes.issubdtype(key.dtype, jax.dtypes.prng_key):
        batch = key.shape
    elif key.dtype == np.uint32 and key.ndim:
        batch = key.shape[:-1]
    else:
        raise TypeError(
            f"got an array of dtype {key.dtype} and shape {key.shape} where a random key belongs; "
            f"{how}"
        )
    if batch:
        raise ValueError(
            f"got a batch of keys of shape {batch} where {caller} takes one; map over them with "
            f"jax.vmap, or take one of them"
        )
    return jnp.asarray(key)


def key_words(key: jax.Array) -> jax.Array:
    """Derive the four uint32 words of the generator from a key of any implementation.

    The key's raw words go through the 20-round threefry, two at a time, so that keys that differ
    in one bit have nothing in common.
    """
    if jax.dtypes.issubdtype(key.dtype, jax.dtypes.prng_key):
        key = jax.random.key_data(key)
    return data_words(key)


def data_words(data: jax.Array) -> jax.Array:
    """``key_words`` for raw key data of an even number of uint32 words."""
    pair = data[:2]
    for i in range(2, data.shape[0], 2):
        pair = jex_random.threefry_2x32(pair, data[i : i + 2])
    counters = jax.lax.iota(jnp.uint32, 4) + np.uint32(_TAG)
    return jex_random.threefry_2x32(pair, counters)
