"""The study of removal: small runs of both networks, its verdict, and settings it refuses."""

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from experiments import removal
from experiments._harness.result import CannotRun
from experiments._networks.char_training import CharConfig
from experiments.removal import networks, report


def small(**settings: Any) -> removal.Config:
    given: dict[str, Any] = {"data": "mnist5k", "rows": 300, "units": 128, "steps": 15, "seeds": 2}
    return removal.Config(**given | {"rates": (0.5,), "turns": 1} | settings)


@pytest.mark.slow
def test_settings_that_cannot_be_run():
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"rates": (0.0, 0.5)}, "above 0"),
        ({"rates": (0.25,), "units": 96}, r"blocks of 64 of 96 units: got n=96 and block_size=64"),
        ({"rates": (0.9,), "units": 128}, "keeps none"),
        ({"network": "cnn"}, "--network"),
        ({"network": "characters"}, "--rows is for --network mlp"),
        ({"turns": 0}, "--turns"),
    ]
    for settings, match in wrong:
        with pytest.raises(CannotRun, match=match):
            removal.check(small(**settings))
    removal.check(small())
    removal.check(small(network="characters", rows=None, units=None))


def result_of(masks, units):
    """A result of two ways at two rates, three seeds and two evaluations."""
    errors = {"none": [[[9, 8], [9, 8], [9, 8]]], "masks": masks, "units": units}
    return {
        "config": {"rates": [0.25, 0.5]},
        "numbers": {"measure": "error", "steps": [10, 20], "errors": errors},
        "times": {"none": [4.0], "masks": [4.0, 4.0], "units": [3.0, 2.0]},
    }


def test_each_way_is_taken_at_its_own_best_rate():
    masks = [[[9, 7], [9, 7], [9, 7]], [[9, 5], [9, 4], [9, 3]]]
    units = [[[9, 5], [9, 4.1], [9, 3.2]], [[9, 8], [9, 8], [9, 8]]]
    result = result_of(masks, units)
    ways = report.ways(result)
    assert (ways["masks"].rate, ways["units"].rate, ways["none"].rate) == (0.5, 0.25, 0)
    assert ways["units"].milliseconds == 3.0
    np.testing.assert_allclose(ways["units"].more, [0, 0.1, 0.2])
    assert not ways["units"].worse  # 0.1 by a standard error of 0.058
    assert report.verdict(result).startswith("No way")
    assert report.reached(result) == {"masks": 20, "units": 20}


def test_a_loss_beyond_two_standard_errors_is_said_first():
    masks = [[[9, 7], [9, 7], [9, 7]], [[9, 5], [9, 4], [9, 3]]]
    result = result_of(masks, [[[9, 5.1], [9, 4.1], [9, 3.2]], masks[0]])
    assert report.verdict(result) == (
        "Worse than masks by more than two standard errors: units (by 0.13 ± 0.03)"
    )


@pytest.mark.parametrize("name", ["removal", "removal_characters"])
def test_the_page_says_what_the_study_found(name):
    root = Path(__file__).parents[2]
    page = (root / "docs/removal.md").read_text()
    stored = json.loads((root / f"results/{name}/result.json").read_text())
    assert report.markdown(stored) in page
    assert f"\n{report.verdict(stored)}.\n" in page


@pytest.mark.slow
@pytest.mark.parametrize("network", ["mlp", "characters"])
def test_a_small_run_resumes_and_is_the_same(network, tmp_path, monkeypatch):
    monkeypatch.setattr(removal, "WAYS", {n: removal.WAYS[n] for n in ("masks", "blocks of 64")})
    tiny = CharConfig(layers=1, width=32, context=16, batch=16, train_bytes=3400, test_bytes=800)
    monkeypatch.setitem(networks.CHARACTERS, "cpu", tiny)
    settings = {} if network == "mlp" else {"rows": None, "units": None}
    config = small(network=network, **settings)
    removal.check(config)
    ticks: list[int] = []
    with jax.numpy_dtype_promotion("standard"):  # optax.adam
        result = removal.run(config, lambda steps=1: ticks.append(steps), tmp_path)
        again = removal.run(config, folder=tmp_path)  # from what is kept
    assert sum(ticks) == removal.ticks(config) == 6
    errors = result["numbers"]["errors"]
    evaluations = len(result["numbers"]["steps"])
    assert {name: np.shape(found) for name, found in errors.items()} == {
        name: (1, 2, evaluations) for name in ("none", "masks", "blocks of 64")
    }
    assert errors["masks"] != errors["blocks of 64"]
    assert min(min(times) for times in result["times"].values()) > 0
    assert again["numbers"] == result["numbers"]
