"""The folder of a run: of somebody else, in use, deleted, on a disk that is full."""

import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache

import jaxdrop.training as jt
from jaxdrop.training import _atomic_file, _folder_lock
from jaxdrop.training._folder_lock import held
from tests.training import small_run as small
from tests.training.disk import by_root, mounted, remount
from tests.training.saved_run import BREAKS_ORBAX, refused

pytestmark = pytest.mark.slow


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    refused(tmp_path, "holds thesis.tex but no run.json, so it is not known whose it is")


def test_a_folder_that_cannot_be_written_to_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    refused(tmp_path / "file" / "run", r"cannot be written to \(Not a directory\); nothing was run")

    def deny(*args: Any) -> Any:
        raise PermissionError(13, "Permission denied")

    # root may write anywhere, so a read-only folder is acted out
    with monkeypatch.context() as patch:
        patch.setattr(_folder_lock.os, "open", deny)
        refused(tmp_path / "run", r"cannot be written to \(Permission denied\); nothing was run")
    monkeypatch.setattr(_atomic_file.os, "fsync", full)
    refused(tmp_path / "run", r"cannot be written to \(No space left on device\); nothing was run")


def full(*args: Any) -> Any:
    raise OSError(28, "No space left on device")


def test_what_a_kill_before_run_json_leaves_is_no_obstacle(tmp_path: Path) -> None:
    for name in (".jaxdrop-lock", ".run.json.partial", ".run.json-123"):
        (tmp_path / name).write_text("half of")
    small.run(folder=tmp_path, epochs=1)


def test_two_calls_at_once_in_a_folder_are_one_too_many(folder: Path) -> None:
    def again(n: int) -> None:
        if n == 1:
            told = r"copy is in use by fit in process \d+ on .*; nothing was changed"
            with pytest.raises(jt.CheckpointError, match=told):
                small.run(folder=folder, config={"rate": 0.5})

    state, _ = small.run(folder=folder, config={"rate": 0.5}, tick=again)
    assert small.same(state, small.run()[0]) and not (folder / ".jaxdrop-lock").exists()
    with held(folder, "another"):
        refused(folder, "in use by another in process")


@pytest.mark.parametrize("what", ["", "metrics.jsonl", "checkpoints", ".jaxdrop-lock"])
@BREAKS_ORBAX
def test_what_is_deleted_during_a_run_is_an_error(what: str, tmp_path: Path) -> None:
    """The error comes at the next checkpoint, and at the last one."""
    for step in (2, 12):
        folder = tmp_path / str(step)
        done: list[int] = []

        def delete(n: int, folder: Path = folder, step: int = step, done: Any = done) -> None:
            done.extend(range(n))
            if len(done) == step and n:
                (folder / what).rename(
                    tmp_path / f"gone {step}"
                )  # a save may be on its way into it

        told = folder if what == ".jaxdrop-lock" else folder / what
        with pytest.raises(jt.CheckpointError, match=f"{told} was deleted or moved"):
            small.run(folder=folder, tick=delete)


def limited(size: int, work: Callable[[], Any]) -> Any:
    """Call work while no file may grow beyond size bytes: a write fails where the disk would."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    jax.config.update("jax_enable_compilation_cache", False)  # which writes files, too
    compilation_cache.reset_cache()
    try:
        return work()
    finally:
        jax.config.update("jax_enable_compilation_cache", True)
        compilation_cache.reset_cache()
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@BREAKS_ORBAX
def test_a_checkpoint_that_cannot_be_written_leaves_the_ones_before(folder: Path) -> None:
    files = small.contents(folder / "checkpoints")
    with pytest.raises(jt.CheckpointError) as error:
        limited(600, lambda: small.run(folder=folder, config={"rate": 0.5}, metric_fn=None,
                                       test=None, log_every=1000))  # fmt: skip
    assert "could not be written to" in str(error.value), error.value
    assert "step 4 is whole. Make room, and the same call resumes from there" in str(error.value)
    now = small.contents(folder / "checkpoints")
    assert {name: now.get(name) for name in files} == files
    state, _ = small.run(folder=folder, config={"rate": 0.5})
    assert small.same(state, small.run()[0])


@BREAKS_ORBAX
@by_root
def test_a_full_disk_is_an_error(tmp_path: Path) -> None:
    with mounted(tmp_path, "192k") as disk:
        with pytest.raises(
            jt.CheckpointError, match="could not be written to .*No space left"
        ) as error:
            small.run(folder=disk / "run", epochs=50, save_every=1, keep=100)
        saved = jt.saved_step(disk / "run")
        assert saved and f"step {saved} is whole" in str(error.value)
        remount(disk, "size=64m")  # room is made
        assert small.same(small.run(folder=disk / "run")[0], small.run()[0])
