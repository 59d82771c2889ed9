"""Mixes compared with the generator's: `mix(low, high, words)` gives 32 bits per element index.

`low` is the index mod 2**32, `high` the index >> 32 (or None where it is zero), `words` the four
key words. Each gives one word per index, elementwise, since that is what fuses and shards.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxdrop._core.mix import WEYL, mix

Mix = Callable[[jax.Array, jax.Array | None, jax.Array], jax.Array]


def chosen(low: jax.Array, high: jax.Array | None, words: jax.Array) -> jax.Array:
    """The mix of jaxdrop."""
    return mix(low * np.uint32(WEYL), high, words)


def triple32(low: jax.Array, high: jax.Array | None, words: jax.Array) -> jax.Array:
    """triple32 with a key word before each multiply; a bijection of the index."""
    x = low ^ words[0]
    x = (x ^ _right(x, 17) ^ _with_high(words[1], high)) * np.uint32(0xED5AD4BB)
    x = (x ^ _right(x, 11) ^ words[2]) * np.uint32(0xAC4C1B51)
    x = (x ^ _right(x, 15) ^ words[3]) * np.uint32(0x31848BAB)
    return x ^ _right(x, 14)


def lowbias32(low: jax.Array, high: jax.Array | None, words: jax.Array) -> jax.Array:
    """lowbias32 (two multiplies) with injected key words; a bijection of the index."""
    x = low ^ words[0]
    x = (x ^ _right(x, 16) ^ _with_high(words[1], high)) * np.uint32(0x7FEB352D)
    x = (x ^ _right(x, 15) ^ words[2]) * np.uint32(0x846CA68B)
    return x ^ _right(x, 16)


def lowbias32_forward(low: jax.Array, high: jax.Array | None, words: jax.Array) -> jax.Array:
    """The chosen mix with lowbias32, one round fewer, in place of triple32."""
    x0 = low * np.uint32(WEYL) + words[0]
    x = (x0 ^ _right(x0, 16) ^ _with_high(words[1], high)) * np.uint32(0x7FEB352D)
    x = (x ^ _right(x, 15) ^ words[2]) * np.uint32(0x846CA68B)
    return x ^ _right(x, 16) ^ x0


def fold16(low: jax.Array, high: jax.Array | None, words: jax.Array) -> jax.Array:
    """Two rounds of multiply-fold on 16-bit limbs of a Weyl sequence."""

    def fold(x: jax.Array) -> jax.Array:
        half = np.uint32(0xFFFF)
        return (x & half) * _right(x, 16) ^ (_right(x, 16) | jnp.left_shift(x, np.uint32(16)))

    x = fold((low * np.uint32(WEYL) + words[0]) ^ _with_high(words[1], high))
    x = fold(x * np.uint32(0xED5AD4BB) ^ words[2])
    return x * np.uint32(0xAC4C1B51) ^ words[3]


def squares32(low: jax.Array, high: jax.Array | None, words: jax.Array) -> jax.Array:
    """Squares (Widynski), four rounds, on 32-bit instead of 64-bit words."""

    def turn(x: jax.Array) -> jax.Array:
        return _right(x, 16) | jnp.left_shift(x, np.uint32(16))

    key = words[0] | np.uint32(1)
    x = y = low * key + _with_high(words[1], high)
    z = y + key
    x = turn(x * x + y)
    x = turn(x * x + z)
    x = turn(x * x + y)
    x = x * x + z
    return x ^ _right(x, 16)


def philox_7(low: jax.Array, high: jax.Array | None, words: jax.Array) -> jax.Array:
    """Philox2x32-7: first word of the block."""
    left, right, key = low, _or_zero(low, high), words[0]
    for _ in range(7):
        product_low = left * np.uint32(0xD256D193)
        product_high = _high_product(left, 0xD256D193)
        left, right = product_high ^ key ^ right, product_low
        key = key + np.uint32(0x9E3779B9)
    return left


def threefry_13(low: jax.Array, high: jax.Array | None, words: jax.Array) -> jax.Array:
    """Threefry2x32-13: first word of the block."""
    turns = (13, 15, 26, 6, 17, 29, 16, 24)
    keys = (words[0], words[1], words[0] ^ words[1] ^ np.uint32(0x1BD11BDA))
    left, right = low + keys[0], _or_zero(low, high) + keys[1]
    for i in range(13):
        by = turns[i % 8]
        left = left + right
        right = jnp.left_shift(right, np.uint32(by)) | _right(right, 32 - by)
        right = right ^ left
        if i % 4 == 3:
            step = i // 4 + 1
            left = left + keys[step % 3]
            right = right + keys[(step + 1) % 3] + np.uint32(step)
    return left


def counter(low: jax.Array, high: jax.Array | None, words: jax.Array) -> jax.Array:
    """No mix at all: index plus key word."""
    return low + words[0]


def weyl(low: jax.Array, high: jax.Array | None, words: jax.Array) -> jax.Array:
    """A Weyl sequence: equidistributed, hence with far too little variance."""
    return low * np.uint32(WEYL) + words[0]


def without_injection(low: jax.Array, high: jax.Array | None, words: jax.Array) -> jax.Array:
    """The chosen mix whose only key word is the first: the keys share one sequence."""
    only_first = jnp.where(np.arange(4) == 0, words, np.uint32(0))
    return chosen(low, high, only_first)


def without_forward(low: jax.Array, high: jax.Array | None, words: jax.Array) -> jax.Array:
    """The chosen mix without its last xor: a bijection of the index."""
    return chosen(low, high, words) ^ (low * np.uint32(WEYL) + words[0])


def without_high(low: jax.Array, high: jax.Array | None, words: jax.Array) -> jax.Array:
    """The chosen mix, wrapping at 2**32 elements."""
    return chosen(low, None, words)


CANDIDATES: dict[str, Mix] = {
    "chosen": chosen,
    "triple32": triple32,
    "lowbias32": lowbias32,
    "lowbias32_forward": lowbias32_forward,
    "fold16": fold16,
    "squares32": squares32,
    "philox_7": philox_7,
    "threefry_13": threefry_13,
}
PLANTED: dict[str, Mix] = {
    "counter": counter,
    "weyl": weyl,
    "lowbias32": lowbias32,
    "triple32": triple32,
    "without_injection": without_injection,
    "without_forward": without_forward,
    "without_high": without_high,
}


def _right(x: jax.Array, by: int) -> jax.Array:
    return jnp.right_shift(x, np.uint32(by))


def _or_zero(low: jax.Array, high: jax.Array | None) -> jax.Array:
    return jnp.zeros_like(low) if high is None else high


def _with_high(word: jax.Array, high: jax.Array | None) -> jax.Array:
    return word if high is None else word ^ high * np.uint32(0x85EBCA6B)


@functools.partial(jax.jit, static_argnums=1, inline=True)
def _high_product(a: jax.Array, b: int) -> jax.Array:
    return jax.lax.mulhi(a, jnp.full_like(a, b))
