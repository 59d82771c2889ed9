"""Folders of experiments: in use, full, deleted, killed in, damaged: a sentence, nothing lost."""

import errno
import importlib
import json
import os
import resource
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("tyro", reason="experiments need the extra jaxdrop[experiments]")
from experiments import concrete, sweep  # noqa: E402
from experiments.__main__ import find_experiments  # noqa: E402
from experiments._harness.command import run_command  # noqa: E402
from experiments._harness.experiment import load_experiment  # noqa: E402
from jaxdrop.training._folder_lock import NAME as LOCK  # noqa: E402
from jaxdrop.training._folder_lock import held  # noqa: E402

pytestmark = pytest.mark.slow

MODULES = {name: importlib.import_module(f"experiments.{name}") for name in find_experiments()}
SWEEP = ["--data=digits", "--hidden=4", "--steps=5", "--seeds=2", "--rates", "0", "0.5",
         "--learning-rates=0.1", "--chunk=1", "--vectorize=map"]  # fmt: skip
FILES = ["run.json", "sweep.json", "chunk-00002", "result.json", "table.csv", "figure.png"]


class Numbers(NamedTuple):
    train_error: jax.Array
    test_error: jax.Array
    train_loss: jax.Array
    test_loss: jax.Array


def train(
    key: jax.Array, input_rate: Any, hidden_rate: Any, learning_rate: Any, data: Any
) -> Numbers:
    """Stands for a training: another number for every seed and rate."""
    found = jax.random.uniform(key, (5,)) + hidden_rate
    return Numbers(found, found, found, jnp.where(hidden_rate > 0, jnp.nan, found))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "make_train", lambda net, recipe: train)


def numbers(folder: Path) -> Any:
    return json.loads((folder / "result.json").read_text())["numbers"]


def hidden(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob(".*")]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweep, "make_train", lambda net, recipe: train)
        assert run_command("sweep", [*SWEEP, "--out", str(folder)]) == 0
        yield numbers(folder)


@pytest.fixture
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*args: Any) -> Any:
        raise AssertionError("the folder was to be refused before")

    for module in MODULES.values():
        monkeypatch.setattr(module, "run", run)
        monkeypatch.setattr(module, "check", lambda config: None)
        monkeypatch.setattr(module, "ticks", lambda config: 1)


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize("name", MODULES)
def test_a_folder_that_will_not_do_is_told_before_any_work(
    name: str, tmp_path: Path, capsys: Any
) -> None:
    (tmp_path / "file").write_text("kept")
    refused = [
        ("run[1]", "'[' in a path is a pattern to the libraries that save"),
        ("a*", "'*' in a path is a pattern"),
        ("a\\b", "'\\\\' in a path is a pattern"),
        ("file", "/file', which is a file; expected a folder"),
        ("file/x", "/file/x cannot be written to (Not a directory); nothing was run"),
    ]
    for out, sentence in refused if name == "char_lm" else refused[:1]:
        assert run_command(name, ["--out", str(tmp_path / out)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert sentence in line
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    with held(tmp_path, "someone else"):
        assert run_command(name, ["--out", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{tmp_path} is in use by someone else in process {os.getpid()} on" in line
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("name", FILES)
def test_a_full_disk_is_a_sentence_and_the_next_call_goes_on(
    name: str, whole: Any, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = os.replace

    def full(source: Any, target: Any) -> None:
        if Path(target).name.startswith(name):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # as write does: without a name
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        assert run_command("sweep", [*SWEEP, "--out", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert name in line and "No space left on device" in line
    if name == "chunk-00002":
        assert load_experiment("sweep").resume_point(
            sweep.Config(), tmp_path / "unfinished" / "work"
        )
    if name == "figure.png":
        assert f"The numbers are stored in {tmp_path / 'result.json'}." in line
        assert numbers(tmp_path) == whole
    assert not hidden(tmp_path)
    assert run_command("sweep", [*SWEEP, "--out", str(tmp_path)]) == 0
    assert ("Resuming" in capsys.readouterr().err) == (name not in ("run.json", "sweep.json"))
    assert numbers(tmp_path) == whole
    assert sorted(p.name for p in tmp_path.iterdir()) == ["figure.png", "result.json", "table.csv"]


@pytest.mark.usefixtures("quick")
def test_a_figure_is_as_it_was_when_the_disk_is_full_half_way(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "figure.png").write_text("old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8000, before[1]))
    try:
        assert run_command("sweep", [*SWEEP, "--out", str(tmp_path)]) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (
        "figure.png cannot be written (File too large); what was there" in capsys.readouterr().err
    )
    assert (tmp_path / "figure.png").read_text() == "old" and not hidden(tmp_path)


def test_nan_is_null_in_a_result(whole: Any) -> None:
    assert whole["last"]["test_loss"][0][1] == [None]
    assert None not in whole["last"]["test_loss"][0][0]


def stops(after: int, then: Callable[[], None]) -> Callable[..., Any]:
    """A run of the sweep that does something after so many runs."""
    run = sweep.run

    def stopped(config: Any, tick: Any, folder: Path) -> Any:
        done = [0]

        def told(n: int = 1) -> None:
            done[0] += n
            if done[0] == after:
                then()

        return run(config, told, folder)

    return stopped


def interrupt() -> None:
    raise KeyboardInterrupt


@pytest.mark.usefixtures("quick")
def test_a_folder_that_is_deleted_under_way_is_told(
    tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    monkeypatch.setattr(sweep, "run", stops(2, lambda: shutil.rmtree(out)))
    assert run_command("sweep", [*SWEEP, "--out", str(out)]) == 2
    assert "was deleted or moved" in capsys.readouterr().err
    assert not out.exists()

    def run(config: Any, tick: Any, folder: Path) -> Any:
        shutil.rmtree(tmp_path / "parts")
        return concrete.Parts(folder, "x", tick).numbers("y", lambda: [np.ones(2)])

    monkeypatch.setattr(concrete, "run", run)
    assert run_command("concrete", ["--out", str(tmp_path / "parts")]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "x-y.numbers cannot be written (No such file or directory)" in line
    assert not (tmp_path / "parts").exists()


@pytest.mark.usefixtures("quick")
def test_results_are_stored_although_the_folder_was_deleted(
    whole: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, run = tmp_path / "out", sweep.run

    def deleted(config: Any, tick: Any, folder: Path) -> Any:
        found = run(config, tick, folder)
        shutil.rmtree(out)
        return found

    monkeypatch.setattr(sweep, "run", deleted)
    assert run_command("sweep", [*SWEEP, "--out", str(out)]) == 0
    assert numbers(out) == whole
    assert sorted(p.name for p in out.iterdir()) == ["figure.png", "result.json", "table.csv"]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("left", [".run.json.partial", ".4711-run.json"])
def test_what_a_kill_leaves_is_nobodys_but_ours(
    left: str, whole: Any, tmp_path: Path, capsys: Any
) -> None:
    place = tmp_path / "unfinished"
    place.mkdir()
    (place / left).write_text('{"experim')
    removed = tmp_path / ".unfinished.partial" / "work"  # killed as it removed what was done
    removed.mkdir(parents=True)
    (removed / "chunk").write_text("")
    (tmp_path / ".figure.png.partial").write_text("half")
    (tmp_path / LOCK).write_text("sweep in process 4711")
    assert run_command("sweep", [*SWEEP, "--out", str(tmp_path)]) == 0
    assert numbers(tmp_path) == whole
    assert sorted(p.name for p in tmp_path.iterdir()) == ["figure.png", "result.json", "table.csv"]


@pytest.mark.usefixtures("quick")
def test_nothing_that_was_saved_is_removed_when_a_run_fails(
    whole: Any, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    command, work = [*SWEEP, "--out", str(tmp_path)], tmp_path / "unfinished" / "work" / "grid"
    with monkeypatch.context() as patch:
        patch.setattr(sweep, "run", stops(2, interrupt))
        assert run_command("sweep", command) == 130
    assert "resumes from run 2 of 4" in capsys.readouterr().err
    chunks = {path: path.read_bytes() for path in work.glob("chunk-*")}
    plan = (work / "sweep.json").read_text()
    for text in ("[]", '{"width": "x"}', plan[:-9], plan.replace('"format"', '"frmt"')):
        (work / "sweep.json").write_text(text)
        assert run_command("sweep", command) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()[-1:]
        assert str(work) in line and "Traceback" not in line
        assert {path: path.read_bytes() for path in chunks} == chunks
    (work / "sweep.json").write_text(plan)
    assert run_command("sweep", command) == 0 and numbers(tmp_path) == whole
