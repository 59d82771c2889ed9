"""kept_units: every unit and every pair as often as the law says."""

import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import jaxdrop

GROUPS, N = 4096, 12
FALSE_ALARM = 1e-6


def counts(units: Any, n: int) -> np.ndarray[Any, Any]:
    """How often every pair of units is kept together; on the diagonal, every unit."""
    kept = np.zeros((len(units), n))
    np.put_along_axis(kept, np.asarray(units), 1, axis=1)
    return kept.T @ kept


def assert_uniform(units: Any, n: int) -> None:
    """Each count is binomial: k / n for a unit, k (k - 1) / (n (n - 1)) for a pair."""
    groups, k = units.shape
    found = counts(units, n)
    pairs = list(itertools.combinations_with_replacement(range(n), 2))
    for a, b in pairs:
        p = k / n if a == b else k * (k - 1) / (n * (n - 1))
        at_least = FALSE_ALARM / len(pairs) / 2
        low, high = scipy.stats.binom.ppf([at_least, 1 - at_least], groups, p)
        assert low <= found[a, b] <= high, f"units {a}, {b}: {found[a, b]}, not {low} to {high}"


@pytest.mark.parametrize("rate", [0.25, 0.5, 0.75])
def test_every_unit_and_every_pair_is_kept_equally_often(rate: float) -> None:
    units = jaxdrop.kept_units(jax.random.key(0), N, rate, groups=GROUPS)
    assert units.shape == (GROUPS, round(N * (1 - rate))) and units.dtype == jnp.int32
    assert (np.diff(units, axis=1) > 0).all()
    assert_uniform(units, N)


def test_blocks_are_chosen_as_units_are() -> None:
    units = jaxdrop.kept_units(jax.random.key(1), 8 * N, 0.5, block_size=8, groups=GROUPS)
    blocks = np.asarray(units).reshape(GROUPS, -1, 8)
    assert (blocks % 8 == np.arange(8)).all()
    assert_uniform(blocks[..., 0] // 8, N)


def test_a_slice_starts_anywhere_equally_often() -> None:
    units = jaxdrop.kept_units(jax.random.key(2), N, 0.5, contiguous=True, groups=GROUPS)
    assert (np.diff(units, axis=1) == 1).all()
    found = np.bincount(np.asarray(units)[:, 0], minlength=7)
    at_least = FALSE_ALARM / 14
    low, high = scipy.stats.binom.ppf([at_least, 1 - at_least], GROUPS, 1 / 7)
    assert len(found) == 7 and (found >= low).all() and (found <= high).all(), found


def first_ones(key: Any) -> Any:
    return np.broadcast_to(np.arange(N // 2), (GROUPS, N // 2))


def neighbours(key: Any) -> Any:
    """Every unit equally often, but in pairs."""
    units = jaxdrop.kept_units(key, N, 0.5, block_size=2, groups=GROUPS)
    return units


def a_poor_shuffle(key: Any) -> Any:
    """The last unit is swapped less often than it should."""
    units = np.array(jaxdrop.kept_units(key, N - 1, 5 / 11, groups=GROUPS))
    units[: GROUPS // 3, -1] = N - 1
    return np.sort(units, axis=1)


@pytest.mark.parametrize("planted", [first_ones, neighbours, a_poor_shuffle])
def test_a_broken_choice_is_caught(planted: Callable[[Any], Any]) -> None:
    with pytest.raises(AssertionError, match="units"):
        assert_uniform(planted(jax.random.key(3)), N)


def test_the_choice_is_a_function_of_the_key() -> None:
    keys = jax.random.split(jax.random.key(4), 3)
    together = jax.vmap(lambda key: jaxdrop.kept_units(key, 64, 0.5))(keys)
    one_by_one = [jax.jit(lambda key: jaxdrop.kept_units(key, 64, 0.5))(key) for key in keys]
    np.testing.assert_array_equal(together, jnp.stack(one_by_one))
    assert len({tuple(units) for units in np.asarray(together)}) == 3


def test_all_of_them_need_no_key() -> None:
    np.testing.assert_array_equal(jaxdrop.kept_units(None, 4, 0.0), np.arange(4))
    assert jaxdrop.kept_units(None, 4, 0.0, groups=2).shape == (2, 4)


def test_bad_arguments_are_told_in_a_sentence() -> None:
    key = jax.random.key(0)
    with pytest.raises(ValueError, match=r"^got n=9 and block_size=2, expected a multiple"):
        jaxdrop.kept_units(key, 9, 0.5, block_size=2)
    with pytest.raises(ValueError, match=r"^got rate=1\.0, which keeps none of 8 block"):
        jaxdrop.kept_units(key, 8, 1.0)
    with pytest.raises(TypeError, match=r"kept_units takes a Python number"):
        jax.jit(lambda rate: jaxdrop.kept_units(key, 8, rate))(0.5)
    with pytest.raises(ValueError, match="kept_units needs a random key and got None"):
        jaxdrop.kept_units(None, 8, 0.5)
