"""standard_normal: the law of its bits, its place in the stream, its dtypes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from jaxdrop import random_bits
from jaxdrop._normal import standard_normal

KEY = jax.random.key(1809)
N = 1 << 18
FALSE_ALARM = 1e-8


def check_moments(z):
    """Mean and variance of N standard normals: normal and chi-squared laws, exactly."""
    z = np.asarray(z, np.float64).ravel()
    assert abs(z.mean()) < stats.norm.isf(FALSE_ALARM / 2) / np.sqrt(z.size)
    square = (z**2).sum()
    low, high = stats.chi2(z.size).ppf([FALSE_ALARM / 2, 1 - FALSE_ALARM / 2])
    assert low < square < high


def test_moments_and_distribution():
    z = standard_normal(KEY, (N,))
    check_moments(z)
    assert stats.kstest(np.asarray(z, np.float64), "norm").pvalue > FALSE_ALARM


@pytest.mark.parametrize("broken", [lambda z: 1.02 * z, lambda z: z + 0.02, lambda z: np.abs(z)])
def test_the_moment_check_catches_a_broken_generator(broken):
    with pytest.raises(AssertionError):
        check_moments(broken(np.asarray(standard_normal(KEY, (N,)))))


def test_it_is_the_normal_quantile_of_the_bits():
    bits = np.asarray(random_bits(KEY, (N,)), np.uint64)
    u = ((bits >> 8).astype(np.float64) + 0.5) / 2**24
    z = standard_normal(KEY, (N,))
    # erf_inv of float32 is good to a few units in the last place, in the tail relative to 1 - u.
    np.testing.assert_allclose(z, special.ndtri(u), rtol=2e-5, atol=1e-7)


def test_a_block_is_part_of_the_whole():
    whole = standard_normal(KEY, (8, 5))
    np.testing.assert_array_equal(standard_normal(KEY, (3, 5), index_offset=(2,)), whole[2:5])


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
def test_the_dtype_is_the_one_asked_for_and_the_numbers_are_rounded(dtype):
    z = standard_normal(KEY, (100,), dtype)
    assert z.dtype == dtype
    np.testing.assert_array_equal(z, standard_normal(KEY, (100,)).astype(dtype))


def test_float64_agrees_with_float32(x64):
    z = standard_normal(KEY, (1000,), jnp.float64)
    assert z.dtype == jnp.float64
    np.testing.assert_allclose(z, standard_normal(KEY, (1000,)), rtol=1e-3, atol=1e-5)
