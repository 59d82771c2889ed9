"""standard_normal: the law of its bits, its place in the stream, its dtypes."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from jaxdrop import random_bits
from jaxdrop._core import normal
from jaxdrop._core.normal import _of_words, narrow_scale, standard_normal
from scripts import normal_fit

KEY = jax.random.key(1809)
N = 1 << 18
FALSE_ALARM = 1e-8
# By the docstring: errors of the quantile up to 3 and beyond, and of P(z <= a).
STATED, IN_THE_TAIL, OF_P = 2e-3, 0.04, 8e-5
# By docs/generator.md: between two programs, up to 3 and beyond.
BETWEEN, BETWEEN_IN_THE_TAIL = 4e-6, 5e-5


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


def exact(signed):
    u = (np.asarray(signed, np.float64) + 0.5) * 2.0**-31
    return -np.sign(u) * special.ndtri((1 - np.abs(u)) / 2)


def of_signed(signed):
    """What the library makes of words, in float32."""
    return _of_words(jnp.asarray(signed, jnp.int32).view(jnp.uint32), jnp.float32) * narrow_scale(
        jnp.float32
    )


def check_quantile():
    """Check that the numbers are as exact as stated: in the tails, at powers of two, on a grid."""
    edges = np.concatenate([2**31 - 2**e + np.arange(-99, 99) for e in range(10, 31)])
    tail = 2**31 - 1 - np.arange(1 << 16)
    positive = np.concatenate([edges, tail, np.arange(0, 1 << 31, 1 << 10)])
    signed = np.concatenate([positive, -1 - positive])
    z, want = np.asarray(of_signed(signed), np.float64), exact(signed)
    error, size = np.abs(z - want), np.abs(want)
    assert error[size < 3].max() < STATED, "a number is not the quantile"
    # Beyond 5 a word's place is lost: u has 24 bits.
    assert error[size < 5].max() < IN_THE_TAIL
    assert (error * stats.norm.pdf(want)).max() < OF_P
    assert 5.35 < z.max() < 5.45 and -5.45 < z.min() < -5.35


@pytest.mark.slow
def test_the_quantile_is_as_exact_as_stated():
    check_quantile()


def test_it_is_the_normal_quantile_of_the_bits():
    signed = np.asarray(random_bits(KEY, (N,))).view(np.int32)
    want = exact(signed)
    error = np.abs(np.asarray(standard_normal(KEY, (N,)), np.float64) - want)
    assert error[np.abs(want) < 3].max() < STATED and error.max() < IN_THE_TAIL


@pytest.mark.slow
def test_the_moments_are_as_stated():
    """One word in 2**8 stands for the law: the middle of its cell, against the exact quantile."""
    grid = np.arange(-(1 << 31) + (1 << 7), 1 << 31, 1 << 8)
    ours, theirs = np.asarray(of_signed(grid), np.float64), exact(grid)
    assert abs(ours.mean()) < 1e-8
    assert abs((ours**2 - theirs**2).mean()) < 1e-5
    assert abs((1.001 * ours**2 - theirs**2).mean()) > 1e-5


@pytest.mark.slow
def test_the_coefficients_are_the_best_ones():
    """scripts/normal_fit, started from them, does not lower the error by 1%."""
    start = normal_fit.committed()
    error, off = normal_fit.largest_error(start), abs(normal_fit.variance(start) - 1)
    assert error < OF_P and off < 1e-6
    better = normal_fit.fit(start, rounds=5)
    assert normal_fit.largest_error(better) > 0.99 * error
    # From coefficients that are a little off it finds them again.
    worse = start * (1 + 1e-4 * np.cos(np.arange(start.size)))
    assert normal_fit.largest_error(worse) > 1.2 * error
    assert normal_fit.largest_error(normal_fit.fit(worse)) < 1.02 * error


@pytest.mark.slow
@pytest.mark.parametrize("table", ["_LOG2", "_QUARTIC"])
def test_a_wrong_coefficient_is_caught(table, monkeypatch):
    first, *rest = getattr(normal, table)
    monkeypatch.setattr(normal, table, (1.01 * first, *rest))
    jax.clear_caches()  # the coefficients are constants of what is compiled
    with pytest.raises(AssertionError, match="is not the quantile"):
        check_quantile()
    monkeypatch.undo()
    jax.clear_caches()


def test_the_law_is_symmetric():
    """A word and its opposite stand for opposite numbers, bit for bit."""
    signed = np.asarray(random_bits(KEY, (N,))).view(np.int32)
    signed = signed[signed != np.iinfo(np.int32).min]
    np.testing.assert_array_equal(of_signed(signed), -of_signed(-signed))


def as_compiled(signed, fused):
    """The numbers with every product fused into the sum that follows it, or with none."""
    single, double = np.float32, np.float64

    def multiply_add(a, b, c):
        if fused:  # a product of two float32 is exact in float64
            return (double(a) * double(b) + double(c)).astype(single)
        return single(a) * single(b) + single(c)

    u = signed.astype(single) * single(normal._UNIT)
    t = multiply_add(-u, u, single(1))
    pattern, one = t.view(np.uint32), np.uint32(0x3F800000)
    mantissa = (pattern | one).view(single)
    constant, first, *others = normal._LOG2
    top = np.uint32(int(one) - round((1 + constant) * normal._ONE))
    linear = (top - pattern).astype(np.int32).astype(single)
    low, middle, high = (single(c * normal._ONE) for c in (first - 1, *others))
    bend = multiply_add(multiply_add(high, mantissa, middle), mantissa, low)
    w = multiply_add(-mantissa, bend, linear)
    powers = zip(reversed(normal._QUARTIC), (2, 3, 4), strict=True)
    square, *rest = (single(c * normal._ONE**p) for c, p in powers)
    quartic = multiply_add(w, w, square)
    for c in rest:
        quartic = multiply_add(quartic, w, c)
    return u * np.sqrt(quartic) * narrow_scale(jnp.float32)


def check_near(z, other):
    """Check two programs against the stated bounds, which are twice the gap of extreme ones."""
    gap, size = np.abs(np.float64(z) - np.float64(other)), np.abs(np.asarray(z))
    assert gap[size < 3].max(initial=0) < BETWEEN
    assert gap.max() < BETWEEN_IN_THE_TAIL


@pytest.mark.slow
def test_programs_differ_by_the_roundings_that_fusing_leaves_out():
    powers = np.sqrt(1 - 2.0 ** -np.arange(1, 23))[:, None] * 2**31  # t passes a power of two
    edges = (powers.astype(np.int64) + np.arange(-3000, 3000)).ravel()
    tail = 2**31 - 1 - np.arange(1 << 18)
    words = np.concatenate([edges, tail, np.arange(0, 1 << 31, 1 << 9)]).astype(np.int32)
    fused, plain = as_compiled(words, True), as_compiled(words, False)
    gap = np.abs(np.float64(fused) - plain)
    assert 2 * gap[np.abs(fused) < 3].max() < BETWEEN
    assert 2 * gap.max() < BETWEEN_IN_THE_TAIL
    assert gap.max() > 0  # they do differ
    ours = of_signed(words)
    check_near(ours, fused)
    check_near(ours, plain)


def test_a_block_is_part_of_the_whole():
    """The bits are the same; the numbers agree up to rounding, since it is another program."""
    where: dict[str, Any] = {"index_offset": (2,)}
    whole, block = random_bits(KEY, (8, 5)), random_bits(KEY, (3, 5), **where)
    np.testing.assert_array_equal(block, whole[2:5])
    check_near(standard_normal(KEY, (3, 5), **where), standard_normal(KEY, (8, 5))[2:5])


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
def test_the_dtype_is_the_one_asked_for_and_the_numbers_are_rounded(dtype):
    z = standard_normal(KEY, (100,), dtype)
    assert z.dtype == dtype
    np.testing.assert_array_equal(z, standard_normal(KEY, (100,)).astype(dtype))


def test_float64_agrees_with_float32(x64):
    z = standard_normal(KEY, (1000,), jnp.float64)
    assert z.dtype == jnp.float64
    np.testing.assert_allclose(z, standard_normal(KEY, (1000,)), rtol=0, atol=IN_THE_TAIL)
