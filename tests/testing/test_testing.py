"""jaxdrop.testing of masks: each assertion passes on what is right, fails on a planted defect."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import jaxdrop
from jaxdrop.testing import assert_independent_masks, assert_mask_rate
from jaxdrop.testing._p_values import binomial_p_value, in_words, overlap_p_value


def mask(seed, shape, rate):
    return jaxdrop.keep_mask(jax.random.key(seed), shape, rate)


# The laws.


@pytest.mark.parametrize("keep", [0.0, 0.1, 0.5, 1.0])
def test_binomial_p_value_keeps_its_budget(keep):
    counts = np.arange(41)
    p_values = binomial_p_value(counts, 40, keep)
    weight = stats.binom(40, keep).pmf(counts)
    for budget in (1e-6, 1e-3, 0.05):
        assert weight[p_values <= budget].sum() <= budget


def test_overlap_p_value_keeps_its_budget():
    overlaps = np.arange(5, 26)  # 30 and 25 of 50
    p_values = np.array([overlap_p_value(int(k), 30, 25, 50) for k in overlaps])
    weight = stats.hypergeom(50, 30, 25).pmf(overlaps)
    for budget in (1e-6, 1e-3, 0.05):
        assert weight[p_values <= budget].sum() <= budget
    assert p_values[0] < 1e-6 < p_values[5]


def test_overlap_p_value_is_precise_in_both_tails():
    low, high = overlap_p_value(5, 30, 25, 50), overlap_p_value(25, 30, 25, 50)
    law = stats.hypergeom(50, 30, 25)
    np.testing.assert_allclose([low, high], [2 * law.pmf(5), 2 * law.pmf(25)], rtol=1e-9)


def test_in_words():
    assert in_words(0.0) == "less than 1e-300" and in_words(0.125) == "0.12"


# assert_mask_rate


@pytest.mark.parametrize("rate", [0.0, 0.05, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("shape", [(4000,), (64, 256), (4, 16, 256)])
def test_mask_rate_accepts_keep_mask(shape, rate):
    assert_mask_rate(mask(0, shape, rate), rate)


@pytest.mark.parametrize("off", [0.003, -0.003])
def test_mask_rate_finds_a_rate_off_by_a_bit(off):
    # 5.1 standard deviations of 2**20 elements at rate 0.1 are 0.0015.
    with pytest.raises(
        AssertionError, match=r"^the mask of shape \(1024, 1024\) keeps .* rate 0.1"
    ):
        assert_mask_rate(mask(0, (1024, 1024), 0.1 + off), 0.1)


def test_mask_rate_finds_a_threshold_of_one_byte():
    # A rate rounded to 1/256, as byte-wise generators do: 0.1 becomes 26/256.
    with pytest.raises(AssertionError, match="keeps"):
        assert_mask_rate(mask(0, (2048, 1024), 26 / 256), 0.1)


@pytest.mark.parametrize("name", ["row 5", "column 5"])
def test_mask_rate_finds_one_bad_row_or_column(name):
    planted = np.array(mask(0, (128, 128), 0.5))
    bad = np.arange(128) % 16 != 0  # keeps 120 of 128
    planted[5 if "row" in name else slice(None), slice(None) if "row" in name else 5] = bad
    found = f"^{name} of the mask of shape .* keeps 120 of 128 elements, expected 64 at rate 0.5"
    with pytest.raises(AssertionError, match=found):
        assert_mask_rate(planted, 0.5)


def test_mask_rate_finds_shared_rows_and_reports_them_as_improbable():
    shared = jaxdrop.keep_mask(jax.random.key(0), (64, 256), 0.5, broadcast_dims=(0,))
    with pytest.raises(AssertionError, match=r"column \d+ .* probability .* 321 tests"):
        assert_mask_rate(shared, 0.5)


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_mask_rate_checks_every_element_at_the_ends(rate):
    planted = np.full((32, 32), rate == 0.0)
    assert_mask_rate(planted, rate)
    planted[3, 4] ^= True
    with pytest.raises(AssertionError, match="less than 1e-300"):
        assert_mask_rate(planted, rate)


def test_mask_rate_seldom_alarms():
    masks = np.asarray(mask(1, (500, 20, 20), 0.3))
    alarms = 0
    for each in masks:
        try:
            assert_mask_rate(each, 0.3, false_alarm=0.05)
        except AssertionError:
            alarms += 1
    # Exceeded with probability 1e-8 if each fair mask alarms with probability 0.05.
    assert alarms <= stats.binom(500, 0.05).isf(1e-8)


def test_mask_rate_tells_what_it_cannot_test():
    with pytest.raises(ValueError, match="5 elements is too small"):
        assert_mask_rate(np.ones(5, bool), 0.5)
    with pytest.raises(ValueError, match="0 elements is too small"):
        assert_mask_rate(np.ones((0, 3), bool), 0.5)
    with pytest.raises(TypeError, match="dtype float32, expected a bool array"):
        assert_mask_rate(jnp.ones(100), 0.5)
    with pytest.raises(ValueError, match="rate=1.5"):
        assert_mask_rate(np.ones(100, bool), 1.5)
    with pytest.raises(ValueError, match=r"rate of shape \(2,\)"):
        assert_mask_rate(np.ones(100, bool), np.array([0.1, 0.2]))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="false_alarm=0"):
        assert_mask_rate(np.ones(100, bool), 0.5, false_alarm=0)


# assert_independent_masks


@pytest.mark.parametrize("rates", [(0.5, 0.5), (0.1, 0.8)])
def test_independent_masks_accepts_two_keys(rates):
    assert_independent_masks(mask(0, (64, 64), rates[0]), mask(1, (64, 64), rates[1]))


def test_independent_masks_finds_identical_ones():
    with pytest.raises(AssertionError, match="identical.* expected .* probability .* less than"):
        assert_independent_masks(mask(0, (64, 64), 0.5), mask(0, (64, 64), 0.5))


def test_independent_masks_finds_complementary_ones():
    with pytest.raises(AssertionError, match="agree on keeping 0, expected"):
        assert_independent_masks(mask(0, (64, 64), 0.5), ~mask(0, (64, 64), 0.5))


def test_independent_masks_finds_a_correlation_of_a_tenth():
    a, b = mask(0, (100, 100), 0.5), mask(1, (100, 100), 0.5)
    copied = ~mask(2, (100, 100), 0.1)  # False with probability 0.1
    with pytest.raises(AssertionError, match="probability"):
        assert_independent_masks(a, jnp.where(copied, b, a))


def test_independent_masks_finds_one_uniform_used_at_two_rates():
    with pytest.raises(AssertionError, match="probability"):
        assert_independent_masks(mask(0, (64, 64), 0.1), mask(0, (64, 64), 0.8))


@pytest.mark.slow
def test_independent_masks_seldom_alarms():
    a, b = np.asarray(mask(3, (500, 200), 0.3)), np.asarray(mask(4, (500, 200), 0.3))
    alarms = 0
    for pair in zip(a, b, strict=True):
        try:
            assert_independent_masks(*pair, false_alarm=0.05)
        except AssertionError:
            alarms += 1
    assert alarms <= stats.binom(500, 0.05).isf(1e-8)


def test_independent_masks_tells_what_it_cannot_test():
    full, half = np.ones(100, bool), np.arange(100) % 2 == 0
    with pytest.raises(ValueError, match="too small, too empty or too full"):
        assert_independent_masks(full, half)
    with pytest.raises(ValueError, match="too small"):
        assert_independent_masks(half[:8], half[:8])
    with pytest.raises(ValueError, match=r"shapes \(100,\) and \(50,\)"):
        assert_independent_masks(half, half[:50])
    with pytest.raises(TypeError, match="got b of dtype"):
        assert_independent_masks(half, half.astype(int))
