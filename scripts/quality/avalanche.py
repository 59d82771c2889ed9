"""Avalanche: a flipped bit of the key or of the index flips each bit of the word with 1/2."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from scripts.quality.generator import Generator, fixed_key
from scripts.quality.verdict import Finding, of_normals

_RUN = 1 << 14  # words compared at a time
_INDICES = 1 << 36


def index_bits(generator: Generator, log_size: int) -> list[Finding]:
    """Words at indices i and i ^ 2**bit for each of the low 36 bits, under one key.

    The indices are runs of up to 2**14 with random starts below 2**36.
    """
    run = min(_RUN, 1 << log_size)
    starts = np.random.default_rng(1).integers(0, _INDICES // run, (1 << log_size) // run) * run
    low, high = _limbs(starts)
    counts, pairs = [], []
    for bit in range(_INDICES.bit_length() - 1):
        flips = _index_flips(
            fixed_key(500), low, high, *_limbs(np.asarray(1 << bit)), generator, run
        )
        twice = 2 if 1 << bit < run else 1  # such a run holds both indices of each of its pairs
        counts.append(np.asarray(flips, np.int64).sum(0) // twice)
        pairs.append((1 << log_size) // twice)
    return _verdict("avalanche of index", np.stack(counts), np.array(pairs)[:, None])


def key_bits(generator: Generator, log_size: int) -> list[Finding]:
    """Words of one index under keys one bit apart, for each of the 64 bits, over many indices."""
    n = 1 << log_size
    run = min(_RUN, n)
    data = jax.random.key_data(fixed_key(501))

    @jax.jit
    def flips(data: jax.Array, flip: jax.Array) -> jax.Array:
        def one(start: jax.Array) -> jax.Array:
            here = generator.bits(jax.random.wrap_key_data(data), (run,), (start,))
            there = generator.bits(jax.random.wrap_key_data(data ^ flip), (run,), (start,))
            return _count_bits(here ^ there)

        return jax.lax.map(one, jnp.arange(0, n, run, dtype=jnp.uint32))

    counts = []
    for bit in range(64):
        flip = np.zeros(2, np.uint32)
        flip[bit // 32] = 1 << bit % 32
        counts.append(np.asarray(flips(data, flip), np.int64).sum(0))
    return _verdict("avalanche of key", np.stack(counts), n)


def _verdict(test: str, counts: np.ndarray, n: int | np.ndarray) -> list[Finding]:
    z = (counts - n / 2) / np.sqrt(n / 4)
    return of_normals(test, f"{len(counts)} x 32 bits", z)


@functools.partial(jax.jit, static_argnames=("generator", "run"))
def _index_flips(
    key: jax.Array,
    low: jax.Array,
    high: jax.Array,
    flip_low: jax.Array,
    flip_high: jax.Array,
    generator: Generator,
    run: int,
) -> jax.Array:
    inside = np.uint32(run - 1)

    def words(low: jax.Array, high: jax.Array) -> jax.Array:
        return generator.bits(key, (1, run), (high, low), (1 << 32, 1 << 32))[0]

    def one(start: tuple[jax.Array, jax.Array]) -> jax.Array:
        low, high = start
        there = words(low ^ flip_low & ~inside, high ^ flip_high)
        partner = jnp.arange(run, dtype=jnp.uint32) ^ flip_low & inside
        return _count_bits(words(low, high) ^ there[partner])

    return jax.lax.map(one, (low, high))


def _limbs(index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return (index % (1 << 32)).astype(np.uint32), (index >> 32).astype(np.uint32)


def _count_bits(words: jax.Array) -> jax.Array:
    """Number of set bits in each of the 32 positions."""
    planes = jnp.right_shift(words[:, None], jnp.arange(32, dtype=jnp.uint32)[None])
    return jnp.sum(planes & np.uint32(1), axis=0, dtype=jnp.int32)
