"""A folder in use is refused at once with who uses it, and nobody's death leaves it locked."""

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import pytest

import jaxdrop.training as jt
from jaxdrop.training import _folder_lock
from jaxdrop.training._folder_lock import held
from jaxdrop.training._run_file import open_run

HOLD = """
import pathlib, sys, time
from jaxdrop.training._folder_lock import held
with held(pathlib.Path(sys.argv[1]), "the other"):
    print("held", flush=True)
    time.sleep(600)
"""
WHO = r"is in use by the other in process {} on \S+ since \d{{4}}-.*: -c .*run; nothing was changed"


@contextmanager
def other_process(folder: Path) -> "Iterator[subprocess.Popen[str]]":
    """Hold a folder in another process."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout and process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def refused(folder: Path, sentence: str, **options: Any) -> None:
    before = (folder / ".jaxdrop-lock").read_bytes()
    with pytest.raises(jt.CheckpointError, match=sentence), held(folder, "this", **options):
        raise AssertionError("it was in use")
    assert (folder / ".jaxdrop-lock").read_bytes() == before


def free(folder: Path) -> None:
    with held(folder, "this"):
        assert f"this in process {os.getpid()} on " in (folder / ".jaxdrop-lock").read_text()
    assert list(folder.iterdir()) == []


@pytest.mark.slow
def test_another_process_is_named_and_its_sigkill_frees_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with other_process(folder) as other:
        refused(folder, WHO.format(other.pid))
        other.send_signal(signal.SIGSTOP)  # it is not asked: no hang
        refused(folder, WHO.format(other.pid))
        other.kill()
        other.wait()
        assert (folder / ".jaxdrop-lock").exists()  # the file is left behind, and hinders nobody
        free(folder)


def test_a_second_call_of_this_process_is_refused_nested_and_in_a_thread(tmp_path: Path) -> None:
    this = f"is in use by this in process {os.getpid()} on "
    with held(tmp_path, "this"):
        refused(tmp_path, this)
        found: list[Exception] = []

        def work() -> None:
            try:
                refused(tmp_path, this)
            except BaseException as error:
                found.append(error)  # type: ignore[arg-type]

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert not found
    free(tmp_path)
    with pytest.raises(KeyError), held(tmp_path, "this"):
        raise KeyError
    free(tmp_path)


def test_two_names_of_a_folder_are_one(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "run")
    with held(tmp_path / "run", "this"):
        refused(tmp_path / "link", "in use by this")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*fork:RuntimeWarning", "ignore:.*fork:DeprecationWarning")
def test_a_forked_child_neither_keeps_nor_frees_it(tmp_path: Path) -> None:
    wait, go = os.pipe()
    child = 0
    try:
        with held(tmp_path, "this"):
            child = os.fork()
            if not child:
                os.read(wait, 1)
                os._exit(0)
            refused(tmp_path, "in use by this")
        free(tmp_path)  # although the child lives
        with held(tmp_path, "this"):
            worker = multiprocessing.get_context("fork").Process(target=lambda: None)
            worker.start()
            worker.join()
            refused(tmp_path, "in use by this")
    finally:
        os.write(go, b"x")
        os.close(go)
        os.close(wait)
        if child:
            os.waitpid(child, 0)


def test_a_folder_deleted_while_it_is_held_is_another_one(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with held(folder, "this") as check:
        check()
        shutil.rmtree(folder)
        told = "run was deleted or moved, or .jaxdrop-lock in it, while this worked there"
        with pytest.raises(jt.CheckpointError, match=told):
            check()
        with held(folder, "next"):
            refused(folder, "in use by next")
            with pytest.raises(jt.CheckpointError, match=told):
                check()
    free(folder)


def test_a_folder_that_cannot_be_written_to_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "odd" / ".jaxdrop-lock").mkdir(parents=True)
    for folder, why in (("file/run", "Not a directory"), ("odd", "Is a directory"),
                        ("x" * 300, "File name too long")):  # fmt: skip
        told = rf"cannot be written to \({why}\); nothing was run. Choose another one"
        with pytest.raises(jt.CheckpointError, match=told), held(tmp_path / folder, "this"):
            raise AssertionError("it cannot be locked")


def test_where_nothing_can_be_locked_there_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*args: Any) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(_folder_lock.fcntl, "flock", no_locks)
    told = r"cannot be locked \(Function not implemented\): make sure yourself that nothing else"
    with pytest.warns(RuntimeWarning, match=told), held(tmp_path, "this"):
        pass
    monkeypatch.setattr(_folder_lock, "fcntl", None)
    with pytest.warns(RuntimeWarning, match="has no flock"), held(tmp_path, "this"):
        pass


def test_one_of_several_processes_locks_for_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    with held(tmp_path, "this"):
        assert list(tmp_path.iterdir()) == []
    with held(tmp_path, "this", together=False):
        refused(tmp_path, "in use by this", together=False)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    from jax.experimental import multihost_utils

    monkeypatch.setattr(multihost_utils, "process_allgather", lambda x: [1, x])
    with pytest.raises(jt.CheckpointError, match="is refused by another process, which says why"):
        with held(tmp_path, "this"):
            raise AssertionError("the first was refused")
    with pytest.raises(jt.CheckpointError, match="is refused by another process"):
        open_run(tmp_path, {}, write=False)
