"""The guidance experiment in small: it stores what it shows, and its spread is the definition's."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest

pytest.importorskip("tyro", reason="experiments need the extra jaxdrop[experiments]")
from experiments import guidance  # noqa: E402  (after the check)
from experiments._harness.command import run_command  # noqa: E402

SMALL = ["--steps", "3", "--units", "8", "--drawn", "2", "--rates", "0.5", "--scales", "1", "2"]


@pytest.mark.slow
def test_a_small_run_stores_what_it_shows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):  # optax.adam
        assert run_command("guidance", [*SMALL, "--seeds", "1", "--out", str(tmp_path)]) == 0
    assert "scale 2" in capsys.readouterr().out
    result = json.loads((tmp_path / "result.json").read_text())
    numbers = result["numbers"]
    assert np.shape(numbers["recognised"]) == (1, 2, 1) and numbers["real"]["recognised"] > 0.9
    line = guidance.readme_line(result)
    assert line.ours.startswith("recognised at scale 1 → 2: ") and "undecided" in line.match


def test_the_line_says_yes_only_beyond_two_standard_errors() -> None:
    config = {"rates": [0.1], "scales": [4.0, 1.0], "seeds": 3}
    for low, word in (([0.90, 0.91, 0.92], "yes"), ([0.90, 0.99, 0.99], "undecided")):
        numbers = {"recognised": [[[0.99, 0.99, 1.0], low]]}
        line = guidance.readme_line({"numbers": numbers, "config": config})
        assert line.match.split(": ")[1].startswith(word), line


def test_the_spread_is_the_mean_distance_within_a_class() -> None:
    x, labels = np.arange(20.0)[:, None], np.arange(20) // 2
    assert guidance.spread(x, labels) == 1
