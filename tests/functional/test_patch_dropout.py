"""patch_dropout: a uniformly random subset of the tokens, in order."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import jaxdrop

EXAMPLES = 30_000


def subsets(kept: np.ndarray) -> np.ndarray:
    """How often each subset of 2 out of 5 tokens was kept."""
    names = {s: n for n, s in enumerate(itertools.combinations(range(5), 2))}
    return np.bincount([names[tuple(row)] for row in kept.tolist()], minlength=len(names))


@pytest.mark.slow
def test_every_subset_is_equally_likely() -> None:
    kept = jaxdrop.patch_indices(jax.random.key(0), (EXAMPLES, 5), 0.6, prefix=0)
    counts = subsets(np.asarray(kept))
    assert scipy.stats.chisquare(counts).pvalue > 1e-8
    biased = np.sort(np.minimum(np.asarray(kept), 3), axis=1)
    biased = biased[biased[:, 0] != biased[:, 1]]
    assert scipy.stats.chisquare(subsets(biased)).pvalue < 1e-8


def test_tokens_are_themselves_and_the_prefix_stays() -> None:
    x = jnp.arange(4 * 11 * 2.0).reshape(4, 11, 2)
    key = jax.random.key(3)
    y = jaxdrop.patch_dropout(key, x, 0.5, prefix=3)
    kept = jaxdrop.patch_indices(key, (4, 11), 0.5, prefix=3)
    assert y.shape == (4, 7, 2)
    np.testing.assert_array_equal(kept[:, :3], np.tile(np.arange(3), (4, 1)))
    assert (np.diff(kept, axis=1) > 0).all()
    np.testing.assert_array_equal(y, np.stack([x[n, kept[n]] for n in range(4)]))


def kept_of(tokens: int, rate: float) -> int:
    key = jax.random.key(0)
    return jax.eval_shape(lambda: jaxdrop.patch_indices(key, (1, tokens), rate, prefix=0)).shape[1]


@pytest.mark.slow
def test_number_of_tokens_is_the_product_rounded_down() -> None:
    """In exact arithmetic; timm's is, too, except for the rounding in the docstring."""
    fewer_in_timm = 0
    for tokens in (1, 7, 10, 49, 100, 196, 576):
        for percent in range(1, 101):
            kept, rate = kept_of(tokens, percent / 100), percent / 100
            assert kept == max(1, tokens * (100 - percent) // 100)
            timm = max(1, int(tokens * (1.0 - rate)))
            assert timm in (kept, kept - 1)
            fewer_in_timm += timm != kept
    assert kept_of(100, 0.9) == 10 and int(100 * (1.0 - 0.9)) == 9
    assert 0 < fewer_in_timm < 70  # a tenth of the cases


def test_bad_arguments() -> None:
    key, x = jax.random.key(0), jnp.ones((2, 5, 3))
    with pytest.raises(ValueError, match=r"^got x of shape \(5,\); patch_dropout takes"):
        jaxdrop.patch_dropout(key, jnp.ones(5), 0.5)
    with pytest.raises(ValueError, match="^got prefix=6 for 5 tokens"):
        jaxdrop.patch_dropout(key, x, 0.5, prefix=6)
    with pytest.raises(TypeError, match="patch_dropout takes a Python number, since"):
        jax.jit(jaxdrop.patch_dropout)(key, x, 0.5)
    call: Any
    for mode in (jnp.bool_(True), 1):
        for call, first in ((jaxdrop.patch_dropout, x), (jaxdrop.patch_indices, (2, 5))):
            with pytest.raises(TypeError, match="^got deterministic=.*takes a Python bool, since"):
                call(key, first, 0.5, deterministic=mode)
    with pytest.raises(TypeError, match="^got deterministic=.*takes a Python bool, since"):
        jax.jit(lambda d: jaxdrop.patch_indices(key, (2, 5), 0.5, deterministic=d))(True)
    with pytest.raises(TypeError, match="^got shape=2 of type int, expected a sequence of sizes"):
        jaxdrop.patch_indices(key, 2, 0.5)  # type: ignore[arg-type]
    shape: Any
    for shape in ((2,), (2, 5, 3)):
        with pytest.raises(
            ValueError, match=r"^got shape=.*; patch_indices takes \(batch, tokens\)"
        ):
            jaxdrop.patch_indices(key, shape, 0.5)
    with pytest.raises(
        TypeError, match="^got prefix=1.0 of type float, expected the number of lead"
    ):
        jaxdrop.patch_dropout(key, x, 0.5, prefix=1.0)  # type: ignore[arg-type]
