"""The calibration experiment in small, what its page says, and what the stored numbers show."""

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

pytest.importorskip("tyro", reason="experiments need the extra jaxdrop[experiments]")
from experiments import calibration  # noqa: E402  (after the check)
from experiments._data import images  # noqa: E402
from experiments._harness.command import run_command  # noqa: E402
from experiments.calibration.report import markdown  # noqa: E402

ROOT = Path(__file__).parents[2]
SMALL = ["--seeds", "1", "--members", "2", "--rows", "300", "--epochs", "2", "--samples", "3"]


def some(name: images.DataName, folder: str | None = None) -> images.Split[np.ndarray]:
    """Digits are blurred spots in ten places, one in eight of them elsewhere; clothes are noise."""
    draw = np.random.RandomState(0)
    y = np.arange(1600, dtype=np.int32) % 10
    place = np.where(draw.uniform(size=1600) < 1 / 8, draw.randint(0, 10, 1600), y)
    x = draw.uniform(size=(1600, 784)).astype(np.float32)
    if name == "mnist":
        x = 0.3 * x + np.repeat(np.eye(10, dtype=np.float32), 78, axis=1)[place] @ np.eye(
            780, 784, dtype=np.float32
        )
    return images.Split(x[:1400], y[:1400], x[1400:], y[1400:])


@pytest.mark.slow
def test_a_small_run_stores_what_it_shows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration, "load", some)
    monkeypatch.setattr(calibration, "HELD_OUT", 200)  # as many as are tested: fewer programs
    with jax.numpy_dtype_promotion("standard"):  # optax.adam
        assert run_command("calibration", [*SMALL, "--units", "8", "--out", str(tmp_path)]) == 0
    assert "ensemble minus samples" in capsys.readouterr().out
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
    result = json.loads((tmp_path / "result.json").read_text())
    methods = result["numbers"]["methods"]
    assert len(methods) == 8
    for name in ("one network", "dropout, samples", "ensemble"):
        before, after = methods[name], methods[f"{name}, temperature"]
        assert before["accuracy"] == after["accuracy"]  # a temperature changes no order
        assert np.shape(before["risk"]) == (1, 96) and after["temperature"] != [1.0]


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        (["--members", "0"], "--members is 0, expected a whole number of at least 1"),
        (["--rows", "59001"], "--rows is 59001, expected at most 59000; 1000 are held out"),
        (["--test-rows", "10001"], "--test-rows is 10001, expected at most 10000"),
        (["--rate", "1"], "--rate is 1.0, expected a number from 0 to below 1"),
    ],
)
def test_a_setting_without_meaning_is_told_so(
    option: list[str], sentence: str, tmp_path: Path, capsys: Any
) -> None:
    assert run_command("calibration", [*option, "--out", str(tmp_path)]) == 2
    assert sentence in capsys.readouterr().err


STORED = json.loads((ROOT / "results" / "calibration" / "result.json").read_text())


def test_the_page_has_the_stored_numbers() -> None:
    page = (ROOT / "docs" / "calibration.md").read_text(encoding="utf-8")
    assert markdown(STORED) in page
