"""The generator: thirty-two bits that are a pure function of (key words, element index).

A Weyl sequence of the index goes through triple32 (C. Wellons, hash-prospector) with a key word
injected before each multiply, and is then added back::

    x0 = index * 0x9E3779B9 + k0                   (mod 2**32)
    x1 = (x0 ^ x0 >> 17 ^ k1) * 0xED5AD4BB
    x2 = (x1 ^ x1 >> 11 ^ k2) * 0xAC4C1B51
    x3 = (x2 ^ x2 >> 15 ^ k3) * 0x31848BAB
    bits = x3 ^ x3 >> 14 ^ x0

Without the last ``^ x0`` the map would be a permutation of the index, hence too uniform: no value
would occur twice among the outputs of one key. With it, values repeat exactly as often as those of
a random function. Indices of 2**32 and more change two of the key words instead of wrapping.

Why this mix and not another, with every measurement: ``docs/generator.md``.
"""

import jax
import jax.numpy as jnp
import numpy as np

WEYL = 0x9E3779B9


def mix(weyl: jax.Array, high: jax.Array | None, words: jax.Array) -> jax.Array:
    """Mix index and key words into 32 random bits per element.

    Args:
      weyl: uint32, the low 32 bits of ``index * WEYL``.
      high: uint32, ``index >> 32``; None where it is zero everywhere.
      words: uint32 of shape (4,), the key words.

    Returns:
      uint32 array of the shape of ``weyl``.
    """
    return rounds(weyl + words[0], high, words)


def rounds(x0: jax.Array, high: jax.Array | None, words: jax.Array) -> jax.Array:
    """Finish ``mix`` from ``x0``, the Weyl sequence with the first key word added."""
    k1, k2, k3 = (words[i] for i in range(1, 4))
    if high is not None:
        k1 = k1 ^ high * np.uint32(0x85EBCA6B)
        k3 = k3 ^ high * np.uint32(0xC2B2AE35)
    x = (x0 ^ _shift(x0, 17) ^ k1) * np.uint32(0xED5AD4BB)
    x = (x ^ _shift(x, 11) ^ k2) * np.uint32(0xAC4C1B51)
    x = (x ^ _shift(x, 15) ^ k3) * np.uint32(0x31848BAB)
    return x ^ _shift(x, 14) ^ x0


def _shift(x: jax.Array, by: int) -> jax.Array:
    return jnp.right_shift(x, np.uint32(by))
