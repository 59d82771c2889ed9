"""The law that the members of the family state: support, rates, sharing, moments, normal noise."""

import functools
from typing import Any

import jax
import numpy as np
import pytest
import scipy.stats

from scripts.members import Case, Normal, TwoPoint
from tests.functional.over_members import RATE, decisions, key, with_law

pytestmark = pytest.mark.slow

KEYS = 2000
# Shared out among all comparisons that the statistical tests of this file make.
FALSE_ALARM = 1e-7


@functools.cache
def sample(member: Case) -> np.ndarray:
    """Outputs for many keys, (KEYS, *shape) in float64."""
    draw = jax.jit(jax.vmap(lambda k: member.apply(k, member.example(), RATE)))
    return np.asarray(draw(jax.random.split(key(7), KEYS))).astype(np.float64)


def check_counts(dropped: np.ndarray, rate: float) -> None:
    """Each element's number of drops over independent keys is binomial."""
    counts = dropped.sum(axis=0).reshape(-1)
    tail = FALSE_ALARM / 2 / counts.size
    low, high = scipy.stats.binom.ppf([tail, 1 - tail], len(dropped), rate)
    assert low <= counts.min() and counts.max() <= high, f"{counts} not in [{low}, {high}]"


def check_pairs(dropped: np.ndarray, rate: float) -> None:
    """Any two of the columns drop together as often as independent ones do."""
    both = dropped.T.astype(np.int64) @ dropped.astype(np.int64)
    counts = both[np.triu_indices(len(both), 1)]
    if counts.size:
        tail = FALSE_ALARM / 2 / counts.size
        low, high = scipy.stats.binom.ppf([tail, 1 - tail], len(dropped), rate**2)
        assert low <= counts.min() and counts.max() <= high, f"{counts} not in [{low}, {high}]"


def groups(member: Case, values: np.ndarray) -> np.ndarray:
    """One column per group of elements that share a decision, which they must."""
    assert member.shared is not None
    axes = tuple(d + 1 for d in member.shared)
    first = values[tuple(slice(0, 1) if d in axes else slice(None) for d in range(values.ndim))]
    assert (values == first).all(), "elements of one group were decided differently"
    return first.reshape(len(values), -1)


def standardised(member: Case, y: np.ndarray) -> np.ndarray:
    assert isinstance(member.law, Normal)
    x = np.asarray(member.example()).astype(np.float64)
    return (y - member.law.mean(x, RATE)) / member.law.std(x, RATE)


def check_normal(z: np.ndarray) -> None:
    """Mean, variance, every pair of columns, and the shape of the distribution."""
    n = z.size
    tail = FALSE_ALARM / 8
    assert abs(z.mean()) * n**0.5 < scipy.stats.norm.isf(tail)
    low, high = scipy.stats.chi2.ppf([tail, 1 - tail], n)
    assert low < (z**2).sum() < high
    columns = z.reshape(len(z), -1)
    r = np.corrcoef(columns.T)[np.triu_indices(columns.shape[1], 1)]
    # For independent columns, r / sqrt((1 - r**2) / (n - 2)) is exactly Student's.
    t = scipy.stats.t.isf(tail / r.size, len(z) - 2)
    assert abs(r).max() < t / (len(z) - 2 + t**2) ** 0.5
    assert scipy.stats.kstest(columns[:, 0], "norm").pvalue > FALSE_ALARM / 4


@with_law(TwoPoint)
def test_support_is_exact_and_each_element_is_dropped_at_the_rate(member: Case) -> None:
    check_counts(decisions(member, sample(member)), RATE)


@with_law(TwoPoint)
def test_a_rate_off_by_three_tenths_of_itself_is_caught(member: Case) -> None:
    dropped = decisions(member, sample(member))
    with pytest.raises(AssertionError, match="not in"):
        check_counts(dropped, RATE * 1.3)


@with_law(TwoPoint)
def test_decisions_are_shared_within_groups_and_independent_between(member: Case) -> None:
    if member.shared is None:
        pytest.skip("blocks overlap: the member's own tests state their law")
    check_pairs(groups(member, decisions(member, sample(member))), RATE)


@with_law(TwoPoint)
def test_wrong_sharing_is_caught(member: Case) -> None:
    if member.shared is None:
        pytest.skip("blocks overlap: the member's own tests state their law")
    dropped = decisions(member, sample(member))
    if member.shared:
        with pytest.raises(AssertionError, match="decided differently"):
            groups(member, np.random.default_rng(0).permuted(dropped, axis=0))
    one_for_all = np.broadcast_to(dropped.reshape(KEYS, -1)[:, :1], (KEYS, 4))
    with pytest.raises(AssertionError, match="not in"):
        check_pairs(one_for_all, RATE)


@with_law(Normal)
def test_noise_is_normal_with_the_stated_moments(member: Case) -> None:
    check_normal(standardised(member, sample(member)))


@with_law(Normal)
@pytest.mark.parametrize(
    "broken",
    [lambda z: z + 0.05, lambda z: z * 1.05, lambda z: np.sign(z), lambda z: z[:, :1] + 0 * z],
    ids=["shifted", "wider", "signs", "shared"],
)
def test_broken_noise_is_caught(member: Case, broken: Any) -> None:
    with pytest.raises(AssertionError):
        check_normal(broken(standardised(member, sample(member))))


@with_law(TwoPoint)
def test_mean_is_kept_where_the_record_says_so(member: Case) -> None:
    assert isinstance(member.law, TwoPoint)
    x = np.array([-1.5, 0.25, 3.0])
    mean = (1 - RATE) * member.law.kept(x, RATE) + RATE * member.law.dropped(x, RATE)
    assert np.allclose(mean, x, rtol=1e-14) == member.unbiased
