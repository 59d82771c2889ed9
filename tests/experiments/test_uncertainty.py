"""The uncertainty and Concrete experiments in small: files, claims, resumption, refusals."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from experiments import concrete, uncertainty
from experiments._data import images
from experiments._harness.command import run_command
from experiments.uncertainty import curve

pytestmark = pytest.mark.slow

SMALL = ["--samples", "10", "--units", "32", "--epochs", "1"]


@pytest.fixture(autouse=True, scope="module")
def standard_promotion() -> Iterator[None]:
    """optax.adam raises a Python float to an integer's power, which strict promotion refuses."""
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture(autouse=True, scope="module")
def less_of_everything() -> Iterator[None]:
    def some(name: images.DataName, folder: str | None = None) -> images.Split:
        if name == "fashion":
            return images.load(name, folder)
        draw = np.random.RandomState(0)
        x = draw.uniform(size=(400, 784)).astype(np.float32)
        y = np.arange(400, dtype=np.int32) % 10
        return images.Split(x[:300], y[:300], x[300:], y[300:])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(curve, "STEPS", 300)
        patch.setattr(curve, "UNITS", 64)
        patch.setattr(uncertainty, "load", some)
        yield


def test_uncertainty_stores_what_it_shows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command("uncertainty", [*SMALL, "--out", str(tmp_path)]) == 0
    assert "mean of samples" in capsys.readouterr().out
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
    result = json.loads((tmp_path / "result.json").read_text())
    assert set(result["digests"]) == {"data", "curve", "classifier"}
    assert np.shape(result["numbers"]["rotated"]["some_samples"]) == (10, 13, 10)


def test_the_network_is_surer_where_there_were_data() -> None:
    one, _ = curve.measure(jax.random.key(0), 60, 200)
    assert one["sigma_outside"] > one["sigma_at_data"]
    x, y = one["rows"]
    assert len(x) == len(y) == 60 and 0.3 <= np.abs(x).min() and np.abs(x).max() <= 1


def test_concrete_goes_on_where_it_was_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(concrete, "SIZES", (20,))  # one program
    config = concrete.Config(seeds=3, units=8, samples=3, steps=2)
    left = [2]

    def tick(n: int = 1) -> None:
        left[0] -= n
        if not left[0]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        concrete.run(config, tick, tmp_path)
    assert concrete.resume_point(config, tmp_path) == "network 2 of 3"
    resumed = concrete.run(config, folder=tmp_path)
    assert np.shape(resumed["numbers"]["rates"]) == (1, 3, 5)
    assert np.allclose(resumed["numbers"]["rates"], 0.1, atol=0.01)  # after two steps


@pytest.mark.parametrize(
    "name, option, sentence",
    [
        (
            "uncertainty",
            ["--samples", "0"],
            "--samples is 0, expected a whole number of at least 1",
        ),
        ("uncertainty", ["--seed", "-1"], "--seed is -1"),
        ("uncertainty", ["--outside", "fashion", "--data-dir", "/nowhere"], "scripts/run fetch"),
        ("concrete", ["--units", "0"], "--units is 0"),
        ("concrete", ["--steps", "0"], "--steps is 0, expected a whole number of at least 1"),
    ],
)
def test_a_setting_without_meaning_is_told_so(
    name: str, option: list[str], sentence: str, tmp_path: Path, capsys: Any
) -> None:
    assert run_command(name, [*option, "--out", str(tmp_path)]) == 2
    assert sentence in capsys.readouterr().err
