"""The MNIST experiments in miniature: they run, resume, repeat and refuse."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

pytest.importorskip("tyro", reason="experiments need the extra jaxdrop[experiments]")
from experiments import (  # noqa: E402  (after the check)
    averaging,
    data_size,
    early_dropout,
    features,
    kinds,
    mnist_ladder,
    rate,
    sparse,
)
from experiments._commands import reproduce  # noqa: E402
from experiments._data import images  # noqa: E402
from experiments._harness.command import run_command  # noqa: E402
from experiments._harness.experiment import load_experiment  # noqa: E402
from experiments._harness.result import CannotRun  # noqa: E402

pytestmark = pytest.mark.slow

SMALL: dict[str, Any] = {"data": "digits", "seeds": 2, "rows": 200, "units": 8, "steps": 20}
MNIST = [averaging, data_size, early_dropout, features, kinds, mnist_ladder, rate]
BY_NAME = [module.__name__.rpartition(".")[2] for module in MNIST]


@pytest.fixture(autouse=True)
def as_users_run_it() -> Any:
    """optax.inject_hyperparams promotes dtypes by itself."""
    with jax.numpy_dtype_promotion("standard"):
        yield


def test_a_rung_of_the_ladder(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("logistic", "dropout_max_norm")  # one of each table
    monkeypatch.setattr(mnist_ladder, "RUNGS", {n: mnist_ladder.RUNGS[n] for n in names})
    ran: list[int] = []
    outcome = mnist_ladder.run(mnist_ladder.Config(**SMALL), lambda n=1: ran.append(n))
    rungs = outcome["numbers"]["rungs"]
    assert [rungs[name]["hidden"] for name in names] == [[8, 8, 8], [8, 8, 16]]
    assert np.shape(rungs["logistic"]["history"]) == (2, 5) and sum(ran) == 4
    assert len(set(rungs["dropout_max_norm"]["history"][0])) > 1


def test_rates_with_as_many_units_or_as_many_kept_units() -> None:
    config = rate.Config(**SMALL, rates=(0.75,))
    curves = rate.run(config)["numbers"]["curves"]
    assert curves["fixed n"]["hidden"] == [[8, 8]]
    assert curves["fixed pn"]["hidden"] == [[16, 16]]
    assert np.shape(curves["fixed pn"]["error"]) == (1, 2)


def test_more_rows_than_10000_get_as_many_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_size, "PASSES_AT", 50)
    config = data_size.Config(**SMALL | {"seeds": 1}, sizes=(50, 200))
    numbers = data_size.run(config)["numbers"]
    assert numbers["steps"] == [20, 80]
    assert np.shape(numbers["dropout"]["error"]) == (2, 1)
    assert len(data_size.gains(numbers)) == 2


def test_early_and_late_are_thirds() -> None:
    plans = early_dropout.schedules(0.1, 90)
    on = {name: np.flatnonzero(rates) for name, rates in plans.items()}
    assert on["none"].size == 0 and on["constant"].size == 90
    np.testing.assert_array_equal(on["early"], np.arange(30))
    np.testing.assert_array_equal(on["late"], np.arange(60, 90))
    config = early_dropout.Config(**SMALL | {"steps": 36, "seeds": 1})
    schedules = early_dropout.run(config)["numbers"]["schedules"]
    assert np.shape(schedules["early"]["variance"]) == (1, 18)
    early, constant = (np.asarray(schedules[n]["train_loss"][0]) for n in ("early", "constant"))
    assert (early[:6] == constant[:6]).all() and (early[6:] != constant[6:]).all()
    assert all(0 < v < 1 for v in schedules["none"]["variance"][0])


def test_features_are_kept_as_bytes_and_shown_as_tiles() -> None:
    numbers = features.run(features.Config(**SMALL))["numbers"]
    stored = numbers["dropout"]["features"]
    assert stored["shape"] == [8, 64]
    for field in ("activations", "units"):
        np.testing.assert_allclose(np.sum(numbers["none"][field], axis=-1), 1, rtol=1e-5)
    weights = np.array([[0.5, -1.0, 0.0, 0.25]])
    coded = features.as_text(weights)
    image = features_tile(coded)
    assert image.tolist() == [[192, 1], [128, 160]]


def features_tile(coded: dict[str, Any]) -> np.ndarray:
    from experiments.features.report import grid

    return grid(coded)[:2, :2]


def test_kinds_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("bernoulli", "gaussian", "drop_connect")
    monkeypatch.setattr(kinds, "KINDS", {name: kinds.KINDS[name] for name in names})
    found = kinds.run(kinds.Config(**SMALL), folder=tmp_path)["numbers"]["kinds"]
    assert list(found) == list(kinds.KINDS)
    assert len({tuple(kind["train_error"]) for kind in found.values()}) == 3
    assert load_experiment("kinds").resume_point(kinds.Config(**SMALL), tmp_path) == "run 6 of 6"


def test_an_interrupted_experiment_goes_on_and_is_reproduced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    argv = [f"--{k}={v}" for k, v in SMALL.items()] + ["--networks=3", f"--out={tmp_path}"]
    sweep_calls: list[Any] = []
    whole = averaging.train_networks

    def stops(*args: Any, tick: Any, **kwargs: Any) -> Any:
        def stop(n: int = 1) -> None:
            sweep_calls.append(n)
            raise KeyboardInterrupt

        return whole(*args, tick=stop, **kwargs)

    monkeypatch.setattr(averaging, "train_networks", stops)
    assert run_command("averaging", argv) == 130
    assert "resumes from run 1 of 2" in capsys.readouterr().err
    monkeypatch.setattr(averaging, "train_networks", whole)
    assert run_command("averaging", argv) == 0
    assert "Resuming averaging from run 1 of 2" in capsys.readouterr().err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["figure.png", "result.json"]
    numbers = json.loads((tmp_path / "result.json").read_text())["numbers"]
    assert np.shape(numbers["averaged"]) == (2, 3, 3)
    assert reproduce.main([str(tmp_path / "result.json")]) == 0


def test_a_pruned_network_that_is_cut_goes_on_to_the_same_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = images.Split(*(rows[:100] for rows in images.load("digits")))
    monkeypatch.setattr(sparse, "load", lambda *place: few)
    config = sparse.Config(data="digits", epochs=40, seeds=1, batch=50)
    whole = sparse.run(config)
    left = iter(range(25))

    def stop(n: int = 1) -> None:
        for _ in range(n):
            if next(left, None) is None:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sparse.run(config, stop, tmp_path)
    assert sparse.resume_point(config, tmp_path) == "network 1 of 1"
    ran: list[int] = []
    assert sparse.run(config, lambda n=1: ran.append(n), tmp_path) == whole
    assert ran[0] == 26 and sum(ran) == 40
    numbers = whole["numbers"]
    kept = np.asarray(numbers["history"]["kept"])[0]
    assert kept.shape == (40, 3) and numbers["compression"][0] >= 1
    damaged = next(tmp_path.glob("seed-*"))
    damaged.write_bytes(damaged.read_bytes()[:-9])
    with pytest.raises(CannotRun, match="is damaged: its checksum .*; remove it"):
        sparse.run(config, folder=tmp_path)


@pytest.mark.parametrize("module", MNIST, ids=BY_NAME)
@pytest.mark.parametrize(
    "change, sentence",
    [
        ({"seeds": 0}, "--seeds is 0, expected a whole number of at least 1"),
        ({"seed": -1}, "--seed is -1, expected a whole number from 0"),
        ({"units": 0}, "--units is 0, expected"),
        ({"preset": "gpu"}, r"--preset is 'gpu', expected one of \('cpu', 'paper'\)"),
        ({"data": "letters"}, "--data is 'letters', expected one of"),
        ({"vectorize": "pmap"}, "--vectorize is 'pmap', expected"),
    ],
)
def test_a_setting_without_meaning_is_told_so(module: Any, change: Any, sentence: str) -> None:
    with pytest.raises(CannotRun, match=sentence):
        module.check(dataclasses.replace(module.Config(), **change))


@pytest.mark.parametrize(
    "module, change, sentence",
    [
        (mnist_ladder, {"steps": 7}, "--steps is 7, expected a multiple of 5"),
        (rate, {"rates": (1.0,)}, r"--rates is \(1.0,\), expected numbers from 0 to below 1"),
        (data_size, {"sizes": (0,)}, r"--sizes is \(0,\), expected whole numbers from 1"),
        (averaging, {"networks": 0}, "--networks is 0"),
        (early_dropout, {"rate": 2.0}, "--rate is 2.0, expected a number from 0 to 1"),
        (sparse, {"epochs": 30}, "--epochs is 30, expected a multiple of 40"),
    ],
)
def test_an_experiment_s_own_settings(module: Any, change: Any, sentence: str) -> None:
    with pytest.raises(CannotRun, match=sentence):
        module.check(dataclasses.replace(module.Config(), **change))


def test_more_rows_than_there_are() -> None:
    with pytest.raises(CannotRun, match=r"--rows is 9999, and digits has 14\d\d"):
        averaging.run(averaging.Config(**SMALL | {"rows": 9999}))
