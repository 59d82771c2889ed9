"""fast_prng_impl: keys as threefry handles them, bits that are the generator's, saved keys."""

import os
import pathlib
import pickle
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdrop
from tests.core.fast_keys import data, fast, of

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("seed", [0, 1, 2**31, 2**32 - 1])
def test_seed_is_threefrys(seed: int) -> None:
    np.testing.assert_array_equal(data(fast(seed)), data(jax.random.key(seed, impl="threefry2x32")))


def test_split_and_fold_in_are_threefrys() -> None:
    def walk(key: jax.Array) -> list[np.ndarray]:
        first, second, third = jax.random.split(key, 3)
        folded = jax.random.fold_in(first, 7)
        return [data(k) for k in (second, folded, jax.random.split(third, (2, 3)))]

    for one, other in zip(walk(fast(5)), walk(jax.random.key(5, impl="threefry2x32")), strict=True):
        np.testing.assert_array_equal(one, other)


def test_key_data_and_back() -> None:
    key = fast(9)
    assert jax.random.key_impl(key) == "jaxdrop_fast"
    again = of(jax.random.key_data(key))
    np.testing.assert_array_equal(jax.random.bits(key, (5,)), jax.random.bits(again, (5,)))
    assert key.dtype == again.dtype and jnp.issubdtype(key.dtype, jax.dtypes.prng_key)


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(), (7,), (3, 5), (2, 3, 4), (0,), (4, 0)])
def test_words_are_random_bits(shape: tuple[int, ...]) -> None:
    np.testing.assert_array_equal(
        jax.random.bits(fast(3), shape, "uint32"), jaxdrop.random_bits(fast(3), shape)
    )
    plain = jax.random.key(3, impl="threefry2x32")
    np.testing.assert_array_equal(
        jaxdrop.random_bits(plain, shape), jaxdrop.random_bits(fast(3), shape)
    )


@pytest.mark.slow
@pytest.mark.parametrize("width", [8, 16])
def test_narrow_bits_are_the_top_of_the_word(width: int) -> None:
    narrow = jax.random.bits(fast(3), (40,), f"uint{width}")
    assert narrow.dtype == jnp.dtype(f"uint{width}")
    word = np.asarray(jaxdrop.random_bits(fast(3), (40,)))
    np.testing.assert_array_equal(narrow, word >> np.uint32(32 - width))


@pytest.mark.slow
@pytest.mark.usefixtures("x64")
def test_64_bits_are_two_words() -> None:
    wide = jax.random.bits(fast(3), (5, 4), "uint64")
    assert wide.dtype == jnp.uint64
    words = np.asarray(jaxdrop.random_bits(fast(3), (5, 4, 2))).astype(np.uint64)
    np.testing.assert_array_equal(wide, words[..., 0] << np.uint64(32) | words[..., 1])


@pytest.mark.slow
def test_dropout_with_such_a_key() -> None:
    x = jnp.ones((64, 33))
    plain = jax.random.key(3, impl="threefry2x32")
    np.testing.assert_array_equal(jaxdrop.dropout(fast(3), x, 0.3), jaxdrop.dropout(plain, x, 0.3))
    by_key = jaxdrop.keep_mask(fast(3), x.shape, 0.3, bits="key")
    np.testing.assert_array_equal(by_key, jax.random.bernoulli(fast(3), 0.7, x.shape))


OTHER_PROCESS = """
import pickle, sys, jax
key = pickle.load(sys.stdin.buffer)
print(jax.random.bits(key, (6,)).tolist())
print(jax.random.bits(jax.random.split(key)[0], (2,)).tolist())
"""


@pytest.mark.slow
def test_a_pickled_key_draws_the_same_in_another_process() -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-c", OTHER_PROCESS],
        input=pickle.dumps(fast(53)),
        capture_output=True,
        check=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    expected = [
        jax.random.bits(fast(53), (6,)).tolist(),
        jax.random.bits(jax.random.split(fast(53))[0], (2,)).tolist(),
    ]
    assert done.stdout.decode().splitlines() == [str(line) for line in expected]
