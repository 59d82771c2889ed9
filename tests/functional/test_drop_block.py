"""drop_block: the exact rate at every position, and blocks of the asked size."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import jaxdrop

KEYS = 2000


def dropped(shape: tuple[int, ...], rate: float, **options: Any) -> np.ndarray:
    """Masks for many keys, (KEYS, *shape)."""

    def one(key: jax.Array) -> jax.Array:
        return jaxdrop.drop_block(key, jnp.ones(shape), rate, **options) == 0

    return np.asarray(jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(2), KEYS)))


def check_every_position(mask: np.ndarray, rate: float) -> None:
    """Border and center are dropped at the rate: a binomial bound, false alarm 1e-8 in all."""
    counts = mask.sum(axis=0).ravel()
    tail = 0.5e-8 / counts.size
    low, high = scipy.stats.binom.ppf([tail, 1 - tail], len(mask), rate)
    assert low <= counts.min() and counts.max() <= high, (counts, low, high)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "block_size"),
    [
        ((1, 12, 1), 1),
        ((1, 12, 2), 5),
        ((1, 6, 7, 1), 3),
        ((1, 6, 7, 1), (2, 4)),
        ((1, 4, 3, 4, 1), 2),
        ((1, 5, 1), 8),
    ],
    ids=str,
)
def test_rate_is_exact_at_every_position(shape: tuple[int, ...], block_size: object) -> None:
    check_every_position(dropped(shape, 0.25, block_size=block_size), 0.25)


def test_the_papers_gamma_is_caught() -> None:
    """Seeds inside the map only: the border is dropped too rarely."""
    n, block, rate = 12, 5, 0.25
    gamma = rate / block * n / (n - block + 1)
    seeds = np.random.default_rng(0).random((KEYS, n - block + 1)) < gamma
    mask = np.zeros((KEYS, n), bool)
    for j in range(block):
        mask[:, j : j + n - block + 1] |= seeds
    with pytest.raises(AssertionError):
        check_every_position(mask, rate)


def test_blocks_have_the_asked_size() -> None:
    """A run of dropped elements that touches no border is at least one block long."""
    shortest, seen = 99, set()
    for line in dropped((40, 1), 0.2, block_size=4, batch_axis=None)[:, :, 0].astype(int):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], line, [0]])))
        for start, stop in edges.reshape(-1, 2):
            if 0 < start and stop < 40:
                shortest = min(shortest, stop - start)
                seen.add(stop - start)
    assert shortest == 4 and len(seen) > 3


def test_neighbours_drop_together_as_often_as_overlap_says() -> None:
    """P(both at distance d kept) = (1 - gamma)**(block + d)."""
    rate, block, d = 0.3, 3, 1
    mask = dropped((1, 3, 1), rate, block_size=block)[:, 0, :, 0]
    both = int((~mask[:, 0] & ~mask[:, d]).sum())
    expected = (1 - rate) ** ((block + d) / block)
    low, high = scipy.stats.binom.ppf([0.5e-8, 1 - 0.5e-8], KEYS, expected)
    assert low <= both <= high
    assert not low <= KEYS * (1 - rate) ** 2 <= high  # independent neighbours would be noticed


@pytest.mark.slow
def test_channels_are_independent_or_shared() -> None:
    one = dropped((1, 8, 3), 0.3, block_size=3, share_channels=True)
    assert (one == one[..., :1]).all()
    own = dropped((1, 1, 2), 0.3, block_size=3)[:, 0, 0]
    both = int(own.all(axis=1).sum())
    low, high = scipy.stats.binom.ppf([0.5e-8, 1 - 0.5e-8], KEYS, 0.09)
    assert low <= both <= high


@pytest.mark.slow
def test_side_one_is_dropout() -> None:
    x = jnp.arange(1.0, 25.0).reshape(2, 4, 3)
    key = jax.random.key(5)
    np.testing.assert_array_equal(
        jaxdrop.drop_block(key, x, 0.25, block_size=1), jaxdrop.dropout(key, x, 0.25)
    )


def test_a_rate_per_channel() -> None:
    y = jaxdrop.drop_block(jax.random.key(0), jnp.ones((2, 6, 3)), np.array([0.0, 0.5, 1.0]))
    assert (y[..., 0] == 1).all() and (y[..., 2] == 0).all()


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"block_size": 0}, "^got block_size=0, drop_block expects sides of 1 or more"),
        ({"block_size": (2, 2)}, r"^got block_size=\(2, 2\) for 1 spatial dimensions"),
        ({"block_size": -1.0}, "^got block_size=-1.0 of type float, expected integers"),
        ({"block_size": "7"}, "^got block_size='7' of type str, expected integers"),
        (
            {"batch_axis": 0.0},
            "^got batch_axis=0.0 of type float, expected the number of a dim.*None",
        ),
        ({"channel_axis": 3}, "^got channel_axis=3 for an array of 3 dimensions"),
        ({"channel_axis": 0}, "^got batch_axis=0 and channel_axis=0, the same dimension"),
    ],
)
def test_bad_options(options: dict[str, Any], match: str) -> None:
    with pytest.raises((TypeError, ValueError), match=match):
        jaxdrop.drop_block(jax.random.key(0), jnp.ones((2, 4, 3)), 0.5, **options)


def test_bad_inputs() -> None:
    with pytest.raises(ValueError, match="^got x without a spatial dimension; drop_block"):
        jaxdrop.drop_block(jax.random.key(0), jnp.ones((2, 4)), 0.5)
    x = jnp.ones((2, 4, 4, 3))
    for rate in (np.full(4, 0.5), np.full((2, 4, 4, 3), 0.5), np.full((2, 6, 6, 3), 0.5)):
        match = r"^got a rate of shape \(.*, which does not broadcast against \(2, 1, 1, 3\)"
        with pytest.raises(ValueError, match=match):
            jaxdrop.drop_block(jax.random.key(0), x, rate, block_size=3)
    with pytest.raises(ValueError, match=r"does not broadcast against \(2, 1, 1, 1\)"):
        jaxdrop.drop_block(jax.random.key(0), x, np.full(3, 0.5), share_channels=True)


def test_sides_may_be_an_array() -> None:
    key, x = jax.random.key(0), jnp.ones((2, 6, 5, 3))
    np.testing.assert_array_equal(
        jaxdrop.drop_block(key, x, 0.5, block_size=np.array([2, 3])),
        jaxdrop.drop_block(key, x, 0.5, block_size=(2, 3)),
    )
