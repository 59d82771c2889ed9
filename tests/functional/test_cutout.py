"""cutout: one block per example, centers uniform, cut off at the border."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import jaxdrop

N = 20_000


def check_starts(cut: np.ndarray, size: int) -> None:
    """Centers are uniform: chi-squared over the positions, false alarm 1e-8."""
    n = cut.shape[1]
    patterns = {}
    for center in range(n):
        start = center - size // 2
        at = np.arange(n)
        patterns[tuple((at >= start) & (at < start + size))] = center
    centers = [patterns[tuple(row)] for row in cut.tolist()]
    counts = np.bincount(centers, minlength=n)
    assert scipy.stats.chisquare(counts).pvalue > 1e-8, counts


def test_centers_are_uniform() -> None:
    y = jaxdrop.cutout(jax.random.key(0), jnp.ones((N, 7, 1)), size=3)
    cut = np.asarray(y[..., 0] == 0)
    check_starts(cut, 3)
    with pytest.raises(AssertionError):
        check_starts(np.concatenate([cut, cut[cut[:, 0]][: N // 10]]), 3)


@pytest.mark.slow
def test_rate_is_the_share_of_examples() -> None:
    y = np.asarray(jaxdrop.cutout(jax.random.key(1), jnp.ones((N, 4, 1)), 0.3, size=2))
    low, high = scipy.stats.binom.ppf([0.5e-8, 1 - 0.5e-8], N, 0.3)
    assert low <= (y == 0).any(axis=(1, 2)).sum() <= high
    traced = jax.jit(lambda k, x, rate: jaxdrop.cutout(k, x, rate, size=2))
    whole = traced(jax.random.key(1), jnp.ones((64, 4, 1)), jnp.float32(1))
    assert (whole == 0).any(axis=(1, 2)).all()


def test_blocks_are_rectangles_over_all_channels() -> None:
    x = jnp.ones((50, 9, 8, 3))
    y = np.asarray(jaxdrop.cutout(jax.random.key(2), x, size=(3, 4)))
    cut = y[..., 0] == 0
    assert (y == y[..., :1]).all()
    rows, columns = cut.any(axis=2), cut.any(axis=1)
    np.testing.assert_array_equal(cut, rows[:, :, None] & columns[:, None, :])
    assert rows.sum(axis=1).max() == 3 and columns.sum(axis=1).max() == 4


@pytest.mark.slow
def test_a_block_larger_than_the_map_and_none_at_all() -> None:
    assert (jaxdrop.cutout(jax.random.key(0), jnp.ones((3, 4, 1)), size=9) == 0).all()
    assert (jaxdrop.cutout(jax.random.key(0), jnp.ones((3, 4, 1)), size=0) == 1).all()


def test_bad_arguments() -> None:
    key, x = jax.random.key(0), jnp.ones((2, 4, 4, 3))
    with pytest.raises(ValueError, match="^got size=-1, cutout expects sides of 0 or more"):
        jaxdrop.cutout(key, x, size=-1)
    with pytest.raises(ValueError, match=r"^got size=\(2,\) for 2 spatial dimensions"):
        jaxdrop.cutout(key, x, size=(2,))
    with pytest.raises(ValueError, match=r"^got a rate of shape \(2,\); cutout takes a scalar"):
        jaxdrop.cutout(key, x, np.array([0.5, 0.5]), size=2)
    with pytest.raises(TypeError, match="^got size=2.0 of type float, expected integers: cutout"):
        jaxdrop.cutout(key, x, size=2.0)  # type: ignore[arg-type]
