"""Keys: what counts as one, and the four words that the generator takes from it."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key, UInt32

from jaxdrop._core.annotations import AnyArray


class Words(NamedTuple):
    """A key that has been turned into the generator's words: plain integers from here on.

    They are derived outside of ``jax.checkpoint``: inside, the backward pass would use the key, and
    compute its threefry, a second time.
    """

    array: jax.Array


AnyKey = Key[Array, ""] | UInt32[AnyArray, " words"] | Words
"""A typed key or a legacy one; between our own functions, its words."""

# Counters far from 0, 1, 2, ..., which jax.random.split and fold_in use on the same key.
_TAG = 0x6A64726F  # "jdro"
_COUNTERS = np.array([_TAG, _TAG + 1, _TAG, _TAG + 1], np.uint32)
_LEGACY = {2: "threefry2x32", 4: "rbg"}  # what a legacy key is, by its number of words
_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))


def check_key(key: Any, caller: str) -> Any:
    """Return a scalar random key, or raise an error that says what was given instead.

    A legacy key is a uint32 vector of two words (threefry) or four (rbg), whatever jax's default
    implementation is.
    """
    if isinstance(key, Words):
        return key
    how = f"pass {caller} a key made by jax.random.key(seed)"
    if key is None:
        raise ValueError(f"{caller} needs a random key and got None; {how}")
    if isinstance(key, (bool, int, float, str, np.integer, np.floating)):
        raise TypeError(
            f"got {key!r:.60} where a random key belongs; {how}"
            + (f", here jax.random.key({key})" if type(key) is int else "")
        )
    if not isinstance(key, (jax.Array, np.ndarray)):
        raise TypeError(f"got {type(key).__name__} where a random key belongs; {how}")
    legacy = not is_typed(key)
    if legacy and (key.dtype != np.uint32 or not key.ndim):
        raise TypeError(
            f"got an array of dtype {key.dtype} and shape {key.shape} where a random key belongs; "
            f"{how}"
        )
    if batch := key.shape[:-1] if legacy else key.shape:
        raise ValueError(
            f"got a batch of keys of shape {batch} where {caller} takes one; map over them with "
            f"jax.vmap, or take one of them"
        )
    if legacy and key.shape[0] not in _LEGACY:
        raise ValueError(
            f"got {key.shape[0]} uint32 words where a random key belongs, expected 2 (threefry) or "
            f"4 (rbg) of a legacy key; {how}"
        )
    if is_deleted(key):
        raise ValueError(
            f"got a key that was deleted, as by donating it to a compiled function; {how}, or use "
            "the key that the function returned"
        )
    return jnp.asarray(key)


def is_deleted(array: Any) -> bool:
    """Whether the buffer of a concrete array is gone: donated to a program, or freed."""
    known = isinstance(array, jax.Array) and not isinstance(array, jax.core.Tracer)
    return known and array.is_deleted()


def typed(key: Any) -> jax.Array:
    """Return a legacy key as a typed one, from which ``jax.random`` derives others in any setting.

    It gets jax's default implementation if that has as many words, else threefry (two words) or rbg
    (four).
    """
    if isinstance(key, Words) or is_typed(key):
        return key
    try:
        return jax.random.wrap_key_data(key)
    except (TypeError, ValueError):  # the default implementation's keys have another length
        return jax.random.wrap_key_data(key, impl=_LEGACY[key.shape[0]])


def key_words(key: Any) -> jax.Array:
    """Derive the four uint32 words of the generator from a key of any implementation.

    The key's raw words go through the 20-round threefry, two at a time, so that keys that differ
    in one bit have nothing in common.
    """
    if isinstance(key, Words):
        return key.array
    return data_words(key_data(key))


def key_data(key: jax.Array) -> jax.Array:
    """Return a key's raw uint32 words; those of a legacy key are the key itself."""
    return jax.random.key_data(key) if is_typed(key) else key


def is_typed(key: Any) -> bool:
    return jax.dtypes.issubdtype(key.dtype, jax.dtypes.prng_key)


@jax.jit  # one function of the program, however many layers call it
def data_words(data: jax.Array) -> jax.Array:
    """``key_words`` for raw key data; an odd number of words is padded with a zero.

    ``threefry(data, (_TAG, _TAG + 1, _TAG + 2, _TAG + 3))``, as JAX computes it
    """
    if data.shape[0] % 2:
        data = jnp.concatenate([data, jnp.zeros_like(data[:1])])
    pair = data[0], data[1]
    for i in range(2, data.shape[0], 2):
        pair = _threefry(*pair, data[i], data[i + 1])
    return jax.lax.platform_dependent(*pair, cpu=_joined, default=_lanes)


def _joined(k0: jax.Array, k1: jax.Array) -> jax.Array:
    """Join the halves, which on CPUs keeps XLA from computing the words for every element."""
    counter = jax.lax.iota(jnp.uint32, 2) + np.uint32(_TAG)
    return jnp.concatenate(_threefry(k0, k1, counter, counter + np.uint32(2)))


def _lanes(k0: jax.Array, k1: jax.Array) -> jax.Array:
    """Let each of four lanes keep its own half: one vector of code for all four words.

    On GPUs the barrier keeps the counters in a buffer that the kernels of all layers read: XLA
    merges kernels that share an input, those of up to about eight layers into one.
    """
    counter = jax.lax.optimization_barrier(jnp.asarray(_COUNTERS))
    first, second = _threefry(k0, k1, counter, counter + np.uint32(2))
    return jnp.where(jax.lax.iota(jnp.uint32, 4) < 2, first, second)


def _threefry(k0: Any, k1: Any, x0: Any, x1: Any) -> tuple[jax.Array, jax.Array]:
    """The 20-round threefry 2x32 (Salmon et al. 2011) in plain code.

    JAX's own forgets over which mesh axes its key varies, is a loop on CPUs, and becomes several
    kernels on GPUs.
    """
    keys = (k0, k1, k0 ^ k1 ^ np.uint32(0x1BD11BDA))
    x0, x1 = x0 + k0, x1 + k1
    for i in range(5):
        for r in _ROTATIONS[i % 2]:
            x0 = x0 + x1
            x1 = x0 ^ (x1 << np.uint32(r) | x1 >> np.uint32(32 - r))
        x0 = x0 + keys[(i + 1) % 3]
        x1 = x1 + keys[(i + 2) % 3] + np.uint32(i + 1)
    return x0, x1
