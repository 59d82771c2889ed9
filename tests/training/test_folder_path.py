"""Which paths a run can be kept at: what is refused does break, and what is taken comes back."""

import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import jaxdrop.training as jt
from jaxdrop.training._checkpoints import Checkpoints
from jaxdrop.training._folder_path import run_folder
from tests.training import small_run as small

# In one name: all that is printable and no pattern, what is not ASCII, and white space at the ends.
ODD = " !\"#$%&'()+,-.:;<=>@^_`{|}~\n\té日😀 "
PATTERN = r"in a path is a pattern to the libraries that save.* without any of \[ \] \* \? \\"


@pytest.mark.slow
@pytest.mark.parametrize("name", [ODD, "x" * 200])
def test_odd_names_are_saved_in_and_come_back(name: str, tmp_path: Path) -> None:
    state = small.linen_state()
    assert small.same(saved_and_restored(run_folder(tmp_path / name), state), state)
    assert jt.saved_step(tmp_path / name) == 3


# Orbax leaves coroutines behind when it fails, as it is made to here.
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("name", ["run[1]", "back\\slash", "two**stars", "gs:/in", "\udcff"])
def test_what_is_refused_would_not_come_back(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        run_folder(tmp_path / name)
    logging.disable()  # a name that is not UTF-8 cannot be sent to the process that reports
    try:
        with pytest.raises(jt.CheckpointError):
            saved_and_restored(tmp_path / name, small.linen_state())
    finally:
        logging.disable(logging.NOTSET)


def saved_and_restored(folder: Path, state: Any) -> Any:
    checkpoints = Checkpoints(folder, 1)
    try:
        checkpoints.save(3, state, np.array([2, 7], np.uint32))
        checkpoints.wait()
        restored, record = checkpoints.restore(3, state)
        assert record is not None and record.tolist() == [2, 7]
        return restored
    finally:
        checkpoints.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    "folder, sentence",
    [
        ("run[1]", rf"got folder='run\[1\]', and '\[' {PATTERN}"),
        ("lr=[0.1]/seed", PATTERN),
        ("a]", rf"'\]' {PATTERN}"),
        ("run*", PATTERN),
        ("run?", PATTERN),
        ("a\\b", PATTERN),
        ("a\0b", r"got folder='a\\x00b', and '\\x00' in a path"),
        ("gs://bucket/run", r"got folder='gs://bucket/run', a URL; expected the path of a folder"),
        (Path("gs://bucket/run"), "a URL"),
        ("file:///tmp/x", "a URL"),
        ("x/gs:/y", "'gs:/' is taken for a URL"),
        ("", "got folder='', which names no folder"),
        ("~/runs", f"expanded by shells only: give '{Path.home()}/runs'"),
        ("x\udcff", r"got folder='x\\udcff' .*, which is not UTF-8"),
        (__file__, "which is a file; expected a folder"),
    ],
)
def test_a_path_that_cannot_be_used_is_an_error_before_anything_is_made(
    folder: Any, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for call in (run_folder, fit_in, sweep_in, jt.saved_step):
        with pytest.raises(ValueError, match=sentence):
            call(folder)
    assert list(tmp_path.iterdir()) == []


def test_the_folder_that_one_is_in_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = tmp_path / "lr=[0.1]"
    inside.mkdir()
    monkeypatch.chdir(inside)
    with pytest.raises(ValueError, match=rf"got folder='run' \(that is '{tmp_path}/lr=\[0.1\]/run"):
        run_folder("run")


@pytest.mark.parametrize("folder", [3, b"run", ["run"], None])
def test_what_is_no_path_is_an_error(folder: Any) -> None:
    with pytest.raises(TypeError, match=r"got --out=.*, expected a path as text or a pathlib.Path"):
        run_folder(folder, "--out")


def test_a_path_is_made_absolute_and_links_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    os.symlink("elsewhere", "link")
    assert run_folder("link/../x") == tmp_path / "link" / ".." / "x"
    assert run_folder(Path("run")) == tmp_path / "run"


def fit_in(folder: Any) -> None:
    small.run(folder=folder)


def sweep_in(folder: Any) -> None:
    jt.sweep(lambda rate: rate, {"rate": [0.0, 0.5]}, folder=folder)
