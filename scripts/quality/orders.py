"""The orders in which a test battery can read the generator: endless blocks of uint32 or uint8."""

import functools
import itertools
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np

from jaxdrop import random_bits

BLOCK = 1 << 20  # elements computed at a time: 4 MiB stay in the cache until they are written
RUN = 1 << 16  # elements taken from one key in the order `keys`
SIDE = 4096  # side of a matrix in the order `columns`
LANES = 64  # keys that take turns in the order `interleaved`
HEAD = 16  # elements taken from one key in the orders `splits` and `seeds`
SEEDS = 1 << 32  # as many as jax.random.key distinguishes without x64


def flat(key: jax.Array, first: int = 0) -> Iterator[jax.Array]:
    """One endless array, past 2**32 elements, from element first on."""
    for start in itertools.count(first, BLOCK):
        yield random_bits(key, (BLOCK,), index_offset=(start,))


def keys(key: jax.Array) -> Iterator[jax.Array]:
    """The first 2**16 elements of fold_in(key, 0), then of fold_in(key, 1), and so on."""
    count = BLOCK // RUN

    @jax.jit
    def block(key: jax.Array, first: jax.Array) -> jax.Array:
        numbers = first + jnp.arange(count, dtype=jnp.uint32)
        return jax.vmap(lambda i: random_bits(jax.random.fold_in(key, i), (RUN,)))(numbers)

    for first in itertools.count(0, count):
        yield block(key, np.uint32(first))


def columns(key: jax.Array) -> Iterator[jax.Array]:
    """A 4096 x 4096 matrix for each fold_in(key, i), read column by column."""
    width = BLOCK // SIDE

    @jax.jit
    def block(key: jax.Array, matrix: jax.Array, column: jax.Array) -> jax.Array:
        bits = random_bits(
            jax.random.fold_in(key, matrix),
            (SIDE, width),
            index_offset=(0, column),
            global_shape=(SIDE, SIDE),
        )
        return bits.T

    for matrix in itertools.count():
        for column in range(0, SIDE, width):
            yield block(key, np.uint32(matrix), np.uint32(column))


def reversed_bits(key: jax.Array) -> Iterator[jax.Array]:
    """The order `flat`, each word's bits from last to first."""
    return map(jax.jit(_reverse), flat(key))


def low_bytes(key: jax.Array) -> Iterator[jax.Array]:
    """The order `flat`, only the low byte of each word."""
    return map(jax.jit(lambda bits: bits.astype(jnp.uint8)), flat(key))


def interleaved(key: jax.Array, first: int = 0) -> Iterator[jax.Array]:
    """Element first of 64 split keys, then the next element of the same keys, and so on."""
    length = BLOCK // LANES

    @jax.jit
    @functools.partial(jax.vmap, in_axes=(0, None, None), out_axes=1)
    def block(lane: jax.Array, high: jax.Array, low: jax.Array) -> jax.Array:
        # A traced offset has 32 bits: two of them, in an array of 2**32 rows of 2**32.
        whole = (1 << 32, 1 << 32)
        return random_bits(lane, (1, length), index_offset=(high, low), global_shape=whole)[0]

    lanes = jax.random.split(key, LANES)
    for start in itertools.count(first, length):
        yield block(lanes, np.uint32(start >> 32), np.uint32(start % (1 << 32)))


def splits(key: jax.Array) -> Iterator[jax.Array]:
    """The first 16 elements of each key of split(fold_in(key, i), 2**16), for i = 0, 1, 2, ..."""

    @jax.jit
    def block(key: jax.Array, i: jax.Array) -> jax.Array:
        return _heads(jax.random.split(jax.random.fold_in(key, i), BLOCK // HEAD))

    for i in itertools.count():
        yield block(key, np.uint32(i))


def seeds(first: int) -> Iterator[jax.Array]:
    """The first 16 elements of jax.random.key(first), then of key(first + 1), up to 2**32 seeds."""
    count = BLOCK // HEAD

    @jax.jit
    def block(first: jax.Array) -> jax.Array:
        numbers = first + jnp.arange(count, dtype=jnp.uint32)
        return _heads(jax.vmap(jax.random.key)(numbers))

    for start in range(first, first + SEEDS, count):
        yield block(np.uint32(start % SEEDS))


def _heads(keys: jax.Array) -> jax.Array:
    return jax.vmap(lambda key: random_bits(key, (HEAD,)))(keys)


def _reverse(x: jax.Array) -> jax.Array:
    for shift, mask in ((1, 0x55555555), (2, 0x33333333), (4, 0x0F0F0F0F), (8, 0x00FF00FF)):
        by, keep = np.uint32(shift), np.uint32(mask)
        x = jnp.right_shift(x, by) & keep | jnp.left_shift(x & keep, by)
    half = np.uint32(16)
    return jnp.right_shift(x, half) | jnp.left_shift(x, half)


_FROM_KEY: dict[str, Callable[[jax.Array], Iterator[jax.Array]]] = {
    "flat": flat,
    "keys": keys,
    "columns": columns,
    "reversed": reversed_bits,
    "low": low_bytes,
    "interleaved": interleaved,
    "splits": splits,
}
ORDERS = (*_FROM_KEY, "seeds")


def blocks(order: str, seed: int) -> Iterator[jax.Array]:
    """Return the stream of an order as an iterator of arrays, to be read in row-major order."""
    if order == "seeds":
        return seeds(seed)
    return _FROM_KEY[order](jax.random.key(seed))
