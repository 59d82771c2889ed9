"""A fingerprint of arrays, computed on their devices: it tells a damaged checkpoint."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def fingerprint(tree: Any) -> jax.Array:
    """Return two uint32 per array: sums over its words of ``mix(word ^ m[index]) mod 2**32``.

    The words are the array's bits, 32 or fewer at a time; ``m[index]`` mixes a word's position,
    differently for each of the two sums. ``mix`` and ``m`` are one to one, so a changed word
    changes both of its terms, and they leave no structure of words or positions: after any other
    change the two sums are what they were with a chance of 2**-64, as if they were 64 fair bits.
    So flipped bits do not cancel, as they would in a sum that is linear in the words.

    Integer sums do not depend on their order, so any sharding gives the same numbers, and only the
    result leaves the devices. Positions count modulo 2**32 words. A program is compiled and kept
    for each shape and sharding in the tree, of which a model has few.

    Args:
      tree: arrays of any dtype but typed keys.

    Returns:
      uint32 array of shape (arrays of the tree, 2), in the tree's order.
    """
    sums = []
    for leaf in jax.tree.leaves(tree):
        sums.append(_sums(leaf))
        if jax.process_count() > 1:
            # One at a time: on CPUs, collectives of several programs under way have waited for
            # each other forever, each process in another one.
            sums[-1].block_until_ready()
    return jnp.stack(sums) if sums else jnp.zeros((0, 2), jnp.uint32)


@jax.jit
def linear_fingerprint(tree: Any) -> jax.Array:
    """Return the fingerprint of older checkpoints: ``sum((2 * index + 1) * word)``.

    Pairs of flipped bits, or all signs flipped at once, may leave it unchanged.
    """
    sums = []
    for leaf in jax.tree.leaves(tree):
        words, index = _words(leaf)
        sums.append(jnp.sum(words * (index * np.uint32(2) + np.uint32(1)), dtype=jnp.uint32))
    return jnp.stack(sums) if sums else jnp.zeros(0, jnp.uint32)


@jax.jit
def _sums(array: jax.Array) -> jax.Array:
    words, index = _words(array)
    place = _mix(index + np.uint32(0x9E3779B9))
    terms = [_mix(words ^ place), _mix(words ^ (place * np.uint32(0x85EBCA6B) + np.uint32(1)))]
    return jnp.stack([jnp.sum(term, dtype=jnp.uint32) for term in terms])


def _mix(x: jax.Array) -> jax.Array:
    """Return MurmurHash3's finalizer of 32 bits: one to one, and every bit moves half of them."""
    x = (x ^ (x >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    x = (x ^ (x >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    return x ^ (x >> np.uint32(16))


def _words(array: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return an array's words, and the index of each."""
    if jnp.issubdtype(array.dtype, jnp.complexfloating):
        array = jnp.stack([array.real, array.imag])
    if array.dtype == jnp.bool_:
        array = array.astype(jnp.uint8)
    bits = array.dtype.itemsize * 8
    words = jax.lax.bitcast_convert_type(array, jnp.uint32 if bits >= 32 else f"uint{bits}")
    words = words.astype(jnp.uint32)
    # The index of a word is built along the axes, without a reshape that would move shards.
    index = jnp.zeros(words.shape, jnp.uint32)
    stride = np.uint32(1)
    for axis in reversed(range(words.ndim)):
        place = jax.lax.broadcasted_iota(jnp.uint32, words.shape, axis)
        index = index + place * stride
        stride = np.uint32((int(stride) * words.shape[axis]) % 2**32)
    return words, index
