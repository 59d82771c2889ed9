"""The sweep's command: table, heat map and verdict; the way is stored; resumed and reproduced."""

import csv
import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

pytest.importorskip("tyro", reason="experiments need the extra jaxdrop[experiments]")
from experiments import sweep  # noqa: E402  (after the check)
from experiments._commands import reproduce  # noqa: E402  (after the check)
from experiments._harness.command import run_command  # noqa: E402
from experiments._harness.experiment import load_experiment  # noqa: E402
from experiments._harness.result import CannotRun  # noqa: E402
from jaxdrop.training import CheckpointError  # noqa: E402

pytestmark = pytest.mark.slow

ARGV = ["--data=digits", "--hidden=8", "--steps=20", "--seeds=2", "--rates", "0", "0.5"]
ARGV += ["--learning-rates=0.1", "--chunk=2"]


@pytest.fixture(autouse=True)
def as_users_run_it() -> Any:
    """optax.inject_hyperparams promotes dtypes by itself."""
    with jax.numpy_dtype_promotion("standard"):
        yield


def test_the_command_stores_table_figure_and_way_and_is_reproduced(tmp_path: Path) -> None:
    assert run_command("sweep", [*ARGV, "--out", str(tmp_path)]) == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["figure.png", "result.json", "table.csv"]
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["config"]["vectorize"] in ("vmap", "map")  # what auto came to
    with open(tmp_path / "table.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [(line["seed"], line["rate"]) for line in lines] == [
        ("0", "0.0"),
        ("0", "0.5"),
        ("1", "0.0"),
        ("1", "0.5"),
    ]
    error = np.asarray(result["numbers"]["last"]["test_error"])
    assert [float(line["test_error"]) for line in lines] == error.ravel().tolist()
    assert reproduce.main([str(tmp_path / "result.json")]) == 0


def test_devices_and_an_interruption_change_no_bit(tmp_path: Path) -> None:
    config = sweep.Config(
        data="digits",
        hidden=(8,),
        steps=20,
        seeds=2,
        rates=(0.0, 0.5),
        learning_rates=(0.1,),
        vectorize="map",
        chunk=2,
    )
    whole = sweep.run(config)["numbers"]
    ran: list[int] = []

    def stop(n: int = 1) -> None:
        ran.append(n)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep.run(config, stop, tmp_path)
    assert load_experiment("sweep").resume_point(config, tmp_path) == "run 2 of 4"
    assert sweep.run(config, lambda n=1: ran.append(n), tmp_path)["numbers"] == whole
    assert ran == [2, 2, 2]
    assert sweep.run(dataclasses.replace(config, devices=2))["numbers"] == whole
    with pytest.raises(CheckpointError, match="holds chunks of another sweep"):
        sweep.run(dataclasses.replace(config, chunk=1), folder=tmp_path)


def test_the_best_rate_has_the_standard_error_of_its_seeds() -> None:
    config = sweep.Config(rates=(0.0, 0.5, 0.8), learning_rates=(0.1, 0.3))
    error = np.array([[[5.0, 9.0], [9.0, 4.0], [4.5, 9.0]], [[6.0, 9.0], [9.0, 4.2], [4.1, 9.0]]])
    best = sweep.best(config, error)
    assert best["rate"] == 0.5 and best["learning_rates"] == [0.1, 0.3, 0.1]
    np.testing.assert_allclose(best["error"], [5.5, 4.1, 4.3])
    np.testing.assert_allclose(best["standard_error"], [0.5, 0.1, 0.2])
    assert best["no_worse"] == [0.5, 0.8]  # paired: 0.2 ± 0.3 is no worse, 1.4 ± 0.4 is


@pytest.mark.parametrize(
    "change, sentence",
    [
        ({"steps": 7}, "--steps is 7, expected a multiple of 5"),
        ({"rates": (1.5,)}, r"--rates is \(1.5,\), expected numbers from 0 to 1"),
        ({"rates": ()}, r"--rates is \(\)"),
        ({"learning_rates": (-1.0,)}, "--learning-rates is"),
        ({"input_rate": 2.0}, "--input-rate is 2.0, expected a number from 0 to 1"),
        ({"hidden": ()}, r"--hidden is \(\)"),
        ({"vectorize": "loop"}, "--vectorize is 'loop', expected one of"),
        ({"chunk": 0}, "--chunk is 0"),
        ({"devices": 99}, "--devices is 99, and there are 8"),
    ],
)
def test_a_setting_without_meaning_is_told_so(change: Any, sentence: str) -> None:
    with pytest.raises(CannotRun, match=sentence):
        sweep.check(dataclasses.replace(sweep.Config(), **change))
