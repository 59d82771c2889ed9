"""The table in experiments/README.md says what the stored results say, and they show the trends."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tyro", reason="experiments need the extra jaxdrop[experiments]")
from experiments import averaging, data_size  # noqa: E402  (after the check)
from experiments._commands import tables  # noqa: E402  (after the check)
from experiments._harness.result import CannotRun  # noqa: E402
from experiments.features.report import ratio  # noqa: E402

RESULTS = Path(__file__).parents[2] / "results"


def numbers(name: str) -> dict[str, Any]:
    return json.loads((RESULTS / name / "result.json").read_text())["numbers"]


def gain(worse: Any, better: Any) -> tuple[float, float]:
    """Mean difference of two arms, seed by seed, and two standard errors of it."""
    difference = np.subtract(worse["error"], better["error"])
    return difference.mean(), 2 * difference.std(ddof=1) / np.sqrt(len(difference))


def test_the_readme_has_the_numbers_of_the_stored_results(capsys: Any) -> None:
    assert tables.main(["--check"]) == 0, "type: scripts/run tables"
    assert "README.md is up to date" in capsys.readouterr().out


def test_a_number_that_was_changed_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    changed = tmp_path / "README.md"
    changed.write_text("Prose.\n" + tables.README.read_text() + "More.")
    monkeypatch.setattr(tables, "README", changed)
    before = changed.read_text()
    begin = before.index(tables.BEGIN)
    assert tables.main([]) == 0
    assert changed.read_text() == before  # prose is left alone
    changed.write_text(before[:begin] + before[begin:].replace("4", "5", 1))
    assert tables.main(["--check"]) == 1
    assert "not what the results say" in capsys.readouterr().out
    assert tables.main([]) == 0 and changed.read_text() == before
    with pytest.raises(CannotRun, match="lacks the markers"):
        tables.with_table("no markers", [])


def test_sampled_networks_meet_weight_scaling() -> None:
    one = numbers("averaging")
    equal = averaging.meets(one, 0.0)
    assert equal is not None and 10 <= equal <= 100  # the paper has about 50
    more = averaging.above(one)
    assert more[:, 0].min() > 1  # a single sampled network is far worse


def test_hidden_activations_fall() -> None:
    one = numbers("features")
    assert ratio(one) > 2
    assert min(one["dropout"]["zero"]) > 2 * max(one["none"]["zero"])


def test_dropout_and_drop_connect_beat_none() -> None:
    kinds = numbers("kinds")["kinds"]
    for name in ("dropout", "drop_connect"):
        mean, noise = gain(kinds["none"], kinds[name])
        assert mean > noise


def test_dropout_beats_other_regularisers_on_the_ladder() -> None:
    rungs = numbers("mnist_ladder")["rungs"]
    for better, worse in (("dropout_max_norm", "max_norm"), ("dropout_l2", "l2")):
        mean, noise = gain(rungs[worse], rungs[better])
        assert mean > noise


def test_pruning_keeps_the_error_and_removes_nearly_all_weights() -> None:
    one = numbers("sparse")
    assert np.mean(one["error"]) < 1.92 + 0.15  # a lower one keeps it too
    assert min(one["compression"]) > 50


def test_the_gain_peaks_and_then_narrows() -> None:
    result = json.loads((RESULTS / "data_size" / "result.json").read_text())
    sizes, gains = result["config"]["sizes"], data_size.gains(result["numbers"])
    without = np.mean(result["numbers"]["none"]["error"], axis=1)
    part = {n: gain / e for n, (gain, _), e in zip(sizes, gains, without, strict=True)}
    mean, standard_error = dict(zip(sizes, gains, strict=True))[5000]
    assert mean > 2 * standard_error
    assert part[100] < part[1000] > part[10_000] > part[60_000]


def test_the_error_is_lowest_on_the_plateau() -> None:
    result = json.loads((RESULTS / "rate" / "result.json").read_text())
    rates = np.asarray(result["config"]["rates"])
    error = np.mean(result["numbers"]["curves"]["fixed n"]["error"], axis=1)
    there = (rates >= 0.2) & (rates <= 0.6)
    assert error[there].max() < error[~there].min()
