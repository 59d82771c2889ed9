"""jax.random's distributions with a key of fast_prng_impl."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from tests.core.fast_keys import FALSE_ALARM, fast

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("width", [8, 16, 32, 64])
@pytest.mark.usefixtures("x64")
def test_every_bit_is_fair(width: int) -> None:
    n = 1 << 16
    drawn = np.asarray(jax.random.bits(fast(21), (n,), f"uint{width}"))
    ones = [
        int((drawn >> np.array(b, drawn.dtype) & np.array(1, drawn.dtype)).sum())
        for b in range(width)
    ]
    assert _fair(ones, n)
    stuck = drawn | np.array(1, drawn.dtype)
    broken = [
        int((stuck >> np.array(b, drawn.dtype) & np.array(1, drawn.dtype)).sum())
        for b in range(width)
    ]
    assert not _fair(broken, n)


def _fair(ones: list[int], n: int) -> bool:
    law = stats.binom(n, 0.5)
    return all(2 * min(law.cdf(c), law.sf(c - 1)) > FALSE_ALARM / len(ones) for c in ones)


CONTINUOUS: dict[str, tuple[Callable[..., jax.Array], Any]] = {
    "uniform": (jax.random.uniform, stats.uniform),
    "normal": (jax.random.normal, stats.norm),
    "exponential": (jax.random.exponential, stats.expon),
    "gumbel": (jax.random.gumbel, stats.gumbel_r),
}


@pytest.mark.parametrize("name", CONTINUOUS)
def test_continuous_distributions(name: str) -> None:
    draw, law = CONTINUOUS[name]
    sample = np.asarray(draw(fast(31), (1 << 16,)))
    assert stats.kstest(sample, law.cdf).pvalue > FALSE_ALARM
    assert stats.kstest(sample * 1.05, law.cdf).pvalue < FALSE_ALARM


def test_bernoulli() -> None:
    n, p = 1 << 18, 0.3
    law = stats.binom(n, p)
    count = int(jax.random.bernoulli(fast(32), p, (n,)).sum())
    assert 2 * min(law.cdf(count), law.sf(count - 1)) > FALSE_ALARM
    off = int(jax.random.bernoulli(fast(32), p + 0.01, (n,)).sum())
    assert 2 * min(law.cdf(off), law.sf(off - 1)) < FALSE_ALARM


def test_categorical() -> None:
    p = np.array([0.1, 0.2, 0.3, 0.4])
    n = 1 << 16
    drawn = jax.random.categorical(fast(33), jnp.log(jnp.asarray(p, jnp.float32)), shape=(n,))
    counts = np.bincount(np.asarray(drawn), minlength=4)
    assert stats.chisquare(counts, n * p).pvalue > FALSE_ALARM
    assert stats.chisquare(counts, n * np.roll(p, 1)).pvalue < FALSE_ALARM


def test_permutation() -> None:
    keys = jax.random.split(fast(34), 6000)
    drawn = np.asarray(jax.vmap(lambda key: jax.random.permutation(key, 4))(keys))
    np.testing.assert_array_equal(np.sort(drawn, axis=1), np.tile(np.arange(4), (6000, 1)))
    counts = np.bincount(drawn @ np.array([64, 16, 4, 1]))
    counts = counts[counts > 0]
    assert len(counts) == 24
    assert stats.chisquare(counts).pvalue > FALSE_ALARM


def test_permutation_of_an_array_keeps_its_rows() -> None:
    x = jnp.arange(30).reshape(10, 3)
    shuffled = np.asarray(jax.random.permutation(fast(35), x))
    np.testing.assert_array_equal(shuffled[np.argsort(shuffled[:, 0])], x)
    assert not np.array_equal(shuffled, x)


def test_randint_choice_and_truncated_normal_run() -> None:
    drawn = jax.random.randint(fast(36), (4096,), 0, 10)
    assert set(np.asarray(drawn).tolist()) == set(range(10))
    chosen = jax.random.choice(fast(37), 100, (50,), replace=False)
    assert len(set(np.asarray(chosen).tolist())) == 50
    cut = jax.random.truncated_normal(fast(38), -1.0, 1.0, (1000,))
    assert float(jnp.abs(cut).max()) <= 1.0
