"""The kernels that were tried drop at the rate, whatever else is wrong with them."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxdrop._core.bits import word_bits
from jaxdrop._core.index import block_layout
from scripts.proofs import kernels, report
from scripts.proofs.stack import RATE

WORDS = jnp.asarray([0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344], jnp.uint32)
SHAPE = (1024, 512)


def p_value(kernel: kernels.Kernel) -> float:
    """Of the number of dropped elements, by the binomial law on both sides."""
    apply = jax.jit(lambda words, x: kernel(words, x))  # a new one: THRESHOLD may have changed
    y = np.asarray(apply(WORDS, jnp.ones(SHAPE)))
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / (1 - RATE))}
    return float(stats.binomtest(int((y == 0).sum()), y.size, RATE).pvalue)


@pytest.mark.parametrize("name", kernels.KERNELS)
def test_the_rate(name: str) -> None:
    assert p_value(kernels.KERNELS[name]) > 1e-7


def test_another_rate_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "THRESHOLD", round(0.103 * 2**32))
    assert p_value(kernels.as_it_is) < 1e-7


@pytest.mark.slow
def test_a_word_of_two_is_the_same_by_index() -> None:
    x = jnp.arange(SHAPE[0] * SHAPE[1], dtype=jnp.float32).reshape(SHAPE)
    np.testing.assert_array_equal(
        kernels.two_of_a_word(WORDS, x), kernels.two_of_a_word_by_index(WORDS, x)
    )


def test_a_word_for_each_is_what_dropout_draws() -> None:
    """It is the kernel of the library, so that what is counted beside it is comparable."""
    block, base = block_layout(SHAPE, (), None)
    kept = word_bits(WORDS, base, block) >= np.uint32(kernels.THRESHOLD)
    np.testing.assert_array_equal(kernels.as_it_is(WORDS, jnp.ones(SHAPE)) != 0, kept)


def test_the_page_has_the_numbers_of_the_report() -> None:
    page = (Path(__file__).parents[2] / "docs" / "generator.md").read_text()
    tried = json.loads((report.FOLDER / "gpu.json").read_text())["tried"]
    assert [row["kernel"] for row in tried] == list(kernels.KERNELS)
    for row in tried:
        assert f"| {' | '.join(str(cell) for cell in row.values())} |\n" in page
