"""Golden values: the bits are frozen, and an independent implementation in plain integers agrees.

If a test here fails, masks of runs that users have seeded, and checkpoints that they resume, would
change. That is a breaking change: it needs a new major version and a line in CHANGELOG.md that
says so. Only then write the table anew:

    python tests/core/test_golden.py > tests/core/golden.json
"""

import hashlib
import json
import pathlib
import sys
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdrop
from jaxdrop import fast_prng_impl, keep_mask, random_bits

TABLE = pathlib.Path(__file__).with_name("golden.json")
BROKEN = (
    "the bits of {name} have changed. Seeded runs and resumed checkpoints of users would change "
    "with them: a breaking change, see the head of tests/core/test_golden.py"
)


def threefry(seed: int) -> jax.Array:
    return jax.random.key(seed, impl="threefry2x32")


def fast(seed: int) -> jax.Array:
    return jax.random.key(seed, impl=fast_prng_impl)


BIG = 2**32
CASES: dict[str, Callable[[], jax.Array]] = {
    "scalar": lambda: random_bits(threefry(0), ()),
    "vector": lambda: random_bits(threefry(0), (8,)),
    "matrix": lambda: random_bits(threefry(1), (3, 4)),
    "batch": lambda: random_bits(threefry(2**32 - 1), (2, 3, 2)),
    "row 1000 of 7": lambda: random_bits(threefry(3), (1, 7), index_offset=(1000,)),
    "block of a matrix": lambda: random_bits(
        threefry(3), (2, 3), index_offset=(5, 6), global_shape=(100, 200)
    ),
    "across 2**32": lambda: random_bits(threefry(4), (8,), index_offset=(BIG - 4,)),
    "across 2**33": lambda: random_bits(threefry(4), (8,), index_offset=(2 * BIG - 4,)),
    "at 2**40": lambda: random_bits(threefry(4), (4,), index_offset=(2**40,)),
    "rows past 2**32": lambda: random_bits(threefry(4), (2, 3), index_offset=(2**31, 0)),
    "corner of 2**17 x 2**17": lambda: random_bits(
        threefry(4), (2, 2), index_offset=(2**17 - 2, 2**17 - 2), global_shape=(2**17, 2**17)
    ),
    "legacy key": lambda: random_bits(jnp.array([0, 42], jnp.uint32), (4,)),
    "rbg key": lambda: random_bits(jax.random.key(42, impl="rbg"), (4,)),
    "folded key": lambda: random_bits(jax.random.fold_in(threefry(5), 6), (4,)),
    "fast key": lambda: random_bits(fast(0), (8,)),
    "mask": lambda: keep_mask(threefry(6), (16,), 0.5),
    "mask of shared rows": lambda: keep_mask(threefry(6), (3, 8), 0.3, broadcast_dims=(0,)),
    "dropout": lambda: jaxdrop.dropout(threefry(7), jnp.arange(1.0, 9.0), 0.5),
    "prng 8": lambda: jax.random.bits(fast(8), (8,), "uint8"),
    "prng 16": lambda: jax.random.bits(fast(8), (8,), "uint16"),
    "prng 32": lambda: jax.random.bits(fast(8), (2, 4), "uint32"),
    "prng split": lambda: jax.random.bits(jax.random.split(fast(8))[1], (4,), "uint32"),
    "prng bernoulli": lambda: jax.random.bernoulli(fast(9), 0.3, (16,)),
}
LARGE: dict[str, Callable[[], jax.Array]] = {
    "1000 x 1000": lambda: random_bits(threefry(10), (1000, 1000)),
    "a million across 2**32": lambda: random_bits(
        threefry(10), (1000, 1000), index_offset=(4294467,)
    ),
}


def table() -> dict[str, object]:
    """Every golden value as it is now."""
    values: dict[str, object] = {
        name: np.asarray(case()).reshape(-1).tolist() for name, case in CASES.items()
    }
    return values | {name: digest(case()) for name, case in LARGE.items()}


def digest(words: jax.Array) -> str:
    return hashlib.sha256(np.asarray(words).astype("<u4").tobytes()).hexdigest()


def golden() -> dict[str, object]:
    return json.loads(TABLE.read_text())


@pytest.mark.parametrize("name", CASES)
def test_values_are_frozen(name: str) -> None:
    now = np.asarray(CASES[name]()).reshape(-1).tolist()
    assert now == golden()[name], BROKEN.format(name=name)


@pytest.mark.parametrize("name", LARGE)
def test_large_arrays_are_frozen(name: str) -> None:
    assert digest(LARGE[name]()) == golden()[name], BROKEN.format(name=name)


@pytest.mark.usefixtures("x64")
def test_64_bits_are_frozen() -> None:
    words = jax.random.bits(fast(8), (4,), "uint64")
    pairs = np.asarray(golden()["prng 32"], np.uint64).reshape(4, 2)
    assert words.tolist() == (pairs[:, 0] << np.uint64(32) | pairs[:, 1]).tolist()


def test_the_table_has_no_other_entries() -> None:
    assert set(golden()) == set(CASES) | set(LARGE)


# The same bits from plain integers


def plain_threefry(key: Sequence[int], count: Sequence[int]) -> tuple[int, int]:
    """Threefry2x32 of 20 rounds (Salmon et al., Parallel random numbers: as easy as 1, 2, 3)."""
    schedule = (key[0], key[1], key[0] ^ key[1] ^ 0x1BD11BDA)
    x, y = (count[0] + key[0]) % BIG, (count[1] + key[1]) % BIG
    for turn in range(20):
        by = (13, 15, 26, 6, 17, 29, 16, 24)[turn % 8]
        x = (x + y) % BIG
        y = (y << by | y >> 32 - by) % BIG ^ x
        if turn % 4 == 3:
            n = turn // 4 + 1
            x = (x + schedule[n % 3]) % BIG
            y = (y + schedule[(n + 1) % 3] + n) % BIG
    return x, y


def plain_bits(key: Sequence[int], index: int) -> int:
    """The generator as its documentation states it."""
    tag = 0x6A64726F
    (k0, k2), (k1, k3) = (plain_threefry(key, (tag + i, tag + 2 + i)) for i in range(2))
    low, high = index % BIG, index // BIG
    k1 ^= high * 0x85EBCA6B % BIG
    k3 ^= high * 0xC2B2AE35 % BIG
    x0 = (low * 0x9E3779B9 + k0) % BIG
    x = (x0 ^ x0 >> 17 ^ k1) * 0xED5AD4BB % BIG
    x = (x ^ x >> 11 ^ k2) * 0xAC4C1B51 % BIG
    x = (x ^ x >> 15 ^ k3) * 0x31848BAB % BIG
    return x ^ x >> 14 ^ x0


@pytest.mark.parametrize(
    ("name", "seed", "first"),
    [
        ("vector", 0, 0),
        ("matrix", 1, 0),
        ("batch", 2**32 - 1, 0),
        ("row 1000 of 7", 3, 7000),
        ("across 2**32", 4, BIG - 4),
        ("across 2**33", 4, 2 * BIG - 4),
        ("at 2**40", 4, 2**40),
        ("rows past 2**32", 4, 3 * 2**31),
        ("prng 32", 8, 0),
    ],
)
def test_plain_integers_give_the_same(name: str, seed: int, first: int) -> None:
    frozen = golden()[name]
    assert isinstance(frozen, list)
    assert frozen == [plain_bits((0, seed), first + i) for i in range(len(frozen))]


def test_plain_integers_give_the_same_far_apart() -> None:
    rng = np.random.default_rng(12)
    places = [rng.integers(0, end, 20).tolist() for end in (BIG, 2**50)]
    pairs = list(zip(*places, strict=True))

    @jax.jit
    def words() -> list[jax.Array]:
        return [random_bits(threefry(seed), (1,), index_offset=(index,)) for seed, index in pairs]

    for word, (seed, index) in zip(words(), pairs, strict=True):
        assert int(word[0]) == plain_bits((0, seed), index)


def test_plain_integers_give_the_same_mask() -> None:
    expected = [plain_bits((0, 6), i) >= 2**31 for i in range(16)]
    assert golden()["mask"] == expected


if __name__ == "__main__":
    json.dump(table(), sys.stdout, indent=1)
    print()
