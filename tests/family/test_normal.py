"""standard_normal: the law of its bits, its place in the stream, its dtypes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from jaxdrop import _normal, random_bits
from jaxdrop._normal import _of_words, _quantile, standard_normal
from scripts import normal_fit

KEY = jax.random.key(1809)
N = 1 << 18
FALSE_ALARM = 1e-8
STATED = 6e-5  # how far a number may be from the exact quantile, by the docstring


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


def exact(odd):
    return -special.ndtri(np.asarray(odd, np.float64) * 2.0**-32)


def test_it_is_the_normal_quantile_of_the_bits():
    bits = np.asarray(random_bits(KEY, (N,)))
    expected = exact(bits & 0x7FFFFFFF | 1) * np.where(bits >> 31, -1, 1)
    np.testing.assert_allclose(standard_normal(KEY, (N,)), expected, rtol=0, atol=STATED)


def check_quantile(quantile):
    """As near as stated: in the whole tail beyond 4.2, at powers of two, over a grid of words."""
    edges = np.concatenate([2**e + np.arange(-99, 99) for e in range(10, 31)])
    spread = np.concatenate([np.arange(1, 1 << 16), edges, np.arange(1 << 9, 1 << 31, 1 << 10)])
    odd = spread.astype(np.uint32) | np.uint32(1)
    np.testing.assert_allclose(quantile(odd), exact(odd), rtol=0, atol=STATED)


def test_the_quantile_is_as_exact_as_stated():
    check_quantile(jax.jit(_quantile))
    assert float(_quantile(jnp.ones(1, jnp.uint32))[0]) > 6.23
    # A grid of one word in 2**8 stands for the law: the sum of squares, by the midpoint rule.
    grid = np.arange(1 << 7, 1 << 31, 1 << 8, dtype=np.uint32) | np.uint32(1)
    ours, theirs = np.asarray(jax.jit(_quantile)(grid), np.float64), exact(grid)
    assert abs((ours**2 - theirs**2).mean()) < 1e-6
    # P(z <= a) is off by the error times the density at a.
    assert (np.abs(ours - theirs) * stats.norm.pdf(theirs)).max() < 2.4e-5


def test_the_coefficients_are_the_best_ones():
    """scripts/normal_fit, started from them, finds no error smaller by a hundredth."""
    start = normal_fit.committed()
    error, off = normal_fit.largest_error(start), abs(normal_fit.variance(start) - 1)
    assert error < STATED and off < 1e-6
    better = normal_fit.fit(start, rounds=5)
    assert normal_fit.largest_error(better) > 0.99 * error
    # From coefficients that are a little off it finds the way back.
    worse = start * (1 + 1e-4 * np.cos(np.arange(start.size)))
    assert normal_fit.largest_error(worse) > 1.2 * error
    assert normal_fit.largest_error(normal_fit.fit(worse)) < 1.01 * error


@pytest.mark.parametrize("table", ["_LOG2", "_POLE", "_PARABOLA"])
def test_a_wrong_coefficient_is_caught(table, monkeypatch):
    first, *rest = getattr(_normal, table)
    monkeypatch.setattr(_normal, table, (first + 1e-4, *rest))
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        check_quantile(_quantile)


def test_the_law_is_symmetric():
    """A word and the word with the other first bit stand for opposite numbers, bit for bit."""
    words = random_bits(KEY, (N,))
    z = [np.asarray(_of_words(words ^ np.uint32(flip), jnp.float32)) for flip in (0, 0x80000000)]
    np.testing.assert_array_equal(z[0], -z[1])


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
    np.testing.assert_allclose(z, standard_normal(KEY, (1000,)), rtol=0, atol=STATED)
