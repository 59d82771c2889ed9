"""The mask of attention: no head, example, query, key, tile, layer or step repeats another's.

Each law cuts one array of masks [steps, layers, B, N, T, S] into disjoint parts of n elements. Of
independent masks at keep probability p = 1 - rate, a part keeps Binomial(n, p) elements and two
parts differ in Binomial(n, 2 p (1 - p)). Both counts are bounded exactly, two-sided; by the union
bound over parts and pairs all laws together fail a right mask with probability FALSE_ALARM at most.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest

from jaxdrop import attention_keep_mask
from jaxdrop.testing._attention_mask import assert_no_repeat
from jaxdrop.testing._p_values import count_bounds

FALSE_ALARM = 1e-6  # for a rate
STEPS, LAYERS, SHAPE = 2, 2, (2, 4, 64, 64)
TILE = 16  # queries and keys of a tile, in the masks with tiles that repeat


def draw(key_of: Callable[[jax.Array, Any, Any], Any], rate: float) -> np.ndarray:
    """Return [steps, layers, B, N, T, S], with the key of each step and layer by ``key_of``."""

    @jax.jit
    def one(step: Any, layer: Any) -> jax.Array:
        return attention_keep_mask(key_of(jax.random.key(17), step, layer), SHAPE, rate)

    return np.array([[one(i, j) for j in range(LAYERS)] for i in range(STEPS)])


@functools.cache
def masks(rate: float) -> np.ndarray:
    return draw(lambda key, i, j: jax.random.fold_in(jax.random.fold_in(key, i), j), rate)


def along(axis: int) -> Callable[[np.ndarray], np.ndarray]:
    """Cut along an axis: part i has all elements at index i."""
    return lambda m: np.moveaxis(m, axis, 0).reshape(m.shape[axis], -1)


def tiles(m: np.ndarray) -> np.ndarray:
    cut = m.reshape(-1, m.shape[-2] // TILE, TILE, m.shape[-1] // TILE, TILE)
    return np.moveaxis(cut, (1, 3), (0, 1)).reshape(cut.shape[1] * cut.shape[3], -1)


PARTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "steps": along(0),
    "layers": along(1),
    "batch": along(2),
    "heads": along(3),
    "rows": along(4),
    "columns": along(5),
    "tiles": tiles,
    "planes": lambda m: m.reshape(-1, m.shape[-2] * m.shape[-1]),  # each head of each example ...
}
LAWS = *PARTS, "shifts"
BUDGET = FALSE_ALARM / len(LAWS)


def assert_law(law: str, m: np.ndarray, rate: float) -> None:
    if law == "shifts":
        assert_no_shift(m)
        return
    parts = PARTS[law](m)
    count, n = parts.shape
    kept = parts.sum(1)
    low, high = count_bounds(n, 1 - rate, BUDGET / 2 / count)
    assert (low <= kept).all() and (kept <= high).all(), f"{law} keep {kept.tolist()} of {n}"
    # |a xor b| = |a| + |b| - 2 |a and b|; float32 counts to 2^24 exactly.
    both = (parts.astype(np.float32) @ parts.T.astype(np.float32)).astype(int)
    differ = (kept[:, None] + kept - 2 * both)[np.triu_indices(count, 1)]
    low, high = count_bounds(n, 2 * rate * (1 - rate), BUDGET / 2 / differ.size)
    found = differ.min(), differ.max()
    assert low <= found[0] and found[1] <= high, f"two {law} differ in {found} of {n}"


def assert_no_shift(m: np.ndarray) -> None:
    """No head of the first example, in any step and layer, has another's mask, moved."""
    heads = m[:, :, 0].reshape(-1, *m.shape[-2:])
    names = [str(i) for i in range(len(heads))]
    pairs: Any = [
        (names[i], heads[i], names[j], heads[j])
        for i in range(len(heads))
        for j in range(i + 1, len(heads))
    ]
    assert_no_repeat(pairs, BUDGET)


@pytest.mark.slow
@pytest.mark.parametrize("rate", [0.1, 0.5])
@pytest.mark.parametrize("law", LAWS)
def test_the_mask_keeps_its_laws(law: str, rate: float) -> None:
    assert_law(law, masks(rate), rate)


def replaced(axis: int, index: int, by: int) -> Callable[[np.ndarray, float], np.ndarray]:
    """Give one index of an axis the mask of another."""

    def broken(m: np.ndarray, rate: float) -> np.ndarray:
        m = np.moveaxis(m.copy(), axis, 0)
        m[index] = m[by]
        return np.moveaxis(m, 0, axis)

    return broken


def repeated(m: np.ndarray, axes: tuple[int, ...], size: int = TILE) -> np.ndarray:
    """Repeat the first block along these axes: a key that is not folded with the block's number."""
    for axis in axes:
        m = np.take(m, np.arange(m.shape[axis]) % size, axis)
    return m


def by_a_sum(m: np.ndarray) -> np.ndarray:
    """A key that is folded with the sum of a tile's row and column."""
    rows, columns = np.arange(SHAPE[2])[:, None], np.arange(SHAPE[3])
    return m[..., rows % TILE, (columns + rows // TILE * TILE) % SHAPE[3]]


def moved(m: np.ndarray) -> np.ndarray:
    """Each head has the first one's mask, from another position on."""
    return np.stack([np.roll(m[:, :, :, 0], (3 * n, 5 * n), (-2, -1)) for n in range(SHAPE[1])], 3)


def crossed(m: np.ndarray) -> np.ndarray:
    """A bit of the query and one of the key make that of the pair, in all heads."""
    return m[..., :1] ^ m[..., :1, :]


def one_head_at_another_rate(m: np.ndarray) -> np.ndarray:
    m = m.copy()
    m[:, :, :, 2] &= np.random.default_rng(3).random(m[:, :, :, 2].shape) > 0.05
    return m


FAULTS: dict[str, tuple[str, Callable[[np.ndarray, float], np.ndarray]]] = {
    "the same for two steps": ("steps", replaced(0, 1, 0)),
    "the same for two layers": ("layers", replaced(1, 1, 0)),
    "the key is folded with the sum of step and layer": (
        "planes",
        lambda m, rate: draw(lambda key, i, j: jax.random.fold_in(key, i + j), rate),
    ),
    "shared by examples": ("batch", replaced(2, 1, 0)),
    "shared by heads": ("heads", lambda m, rate: np.broadcast_to(m[:, :, :, :1], m.shape)),
    "shared by two heads": ("heads", replaced(3, 3, 1)),
    "a head at another rate": ("heads", lambda m, rate: one_head_at_another_rate(m)),
    "shared by queries": ("rows", lambda m, rate: np.broadcast_to(m[..., :1, :], m.shape)),
    "repeated per block of queries": ("rows", lambda m, rate: repeated(m, (4,))),
    "repeated per half of the queries": ("rows", lambda m, rate: repeated(m, (4,), 32)),
    "shared by keys": ("columns", lambda m, rate: np.broadcast_to(m[..., :1], m.shape)),
    "repeated per block of keys": ("columns", lambda m, rate: repeated(m, (5,))),
    "repeated per tile": ("tiles", lambda m, rate: repeated(m, (4, 5))),
    "tiles by a sum": ("tiles", lambda m, rate: by_a_sum(m)),
    "bits of rows times bits of columns": ("rows", lambda m, rate: crossed(m)),
    "another head's, moved": ("shifts", lambda m, rate: moved(m)),
}


@pytest.mark.slow
@pytest.mark.parametrize("rate", [0.1, 0.5])
@pytest.mark.parametrize("name", FAULTS)
def test_a_broken_mask_is_caught(name: str, rate: float) -> None:
    law, broken = FAULTS[name]
    with pytest.raises(AssertionError, match=law if law != "shifts" else "shifted by"):
        assert_law(law, broken(masks(rate), rate), rate)
