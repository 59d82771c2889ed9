"""Stops and refusals: signals save; what does not fit is refused, and left as it was."""

import gc
import json
import os
import resource
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
import pytest
from jax.experimental.compilation_cache import compilation_cache

import jaxdrop.training as jt
from jaxdrop.training import _atomic_file, _folder_lock
from jaxdrop.training._fingerprint import linear_fingerprint
from jaxdrop.training._folder_lock import held
from jaxdrop.training._stop_signals import on_stop_signals
from jaxdrop.training._typed_keys import words_of_keys
from tests.training import small_run as small
from tests.training.test_fit import kept, stop_at

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("unoptimised")]

# Orbax leaves coroutines behind when it fails, as it is made to here; they are collected at once.
BREAKS_ORBAX = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(autouse=True)
def collect_garbage(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if BREAKS_ORBAX.mark in request.node.own_markers:
        gc.collect()


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run with two checkpoints, of steps 3 and 4."""
    folder = tmp_path_factory.mktemp("saved") / "run"
    small.run(folder=folder, epochs=1, config={"rate": 0.5})
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "copy"))


def refused(folder: Path, sentence: str, **options: Any) -> str:
    """Check that a call is refused with a sentence and changes nothing; return the sentence."""
    before = small.contents(folder)
    with pytest.raises(jt.CheckpointError, match=sentence) as error:
        small.run(folder=folder, **({"config": {"rate": 0.5}} | options))
    assert small.contents(folder) == before
    return str(error.value)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """A background shell starts its programs with Ctrl-C ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("number, code", [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_saves_and_says_where(
    number: int, code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(number)
    tick = stop_at(5, number)
    with pytest.raises(SystemExit) as stopped:
        small.run(folder=tmp_path, tick=tick, save_every=1000)
    assert stopped.value.code == code
    step = jt.saved_step(tmp_path)
    assert kept(tmp_path) == [step] and isinstance(stopped.value, jt.Stopped)
    assert stopped.value.step == step and 5 <= step < 12
    told = f"Stopped after step {step} of 12, which is saved in {tmp_path}/checkpoints. The same"
    assert told in capsys.readouterr().err
    assert signal.getsignal(number) is before
    state, lines = small.run(folder=tmp_path)
    assert f"Resuming from step {step} of 12 in {tmp_path}." in capsys.readouterr().err
    whole, expected = small.run()
    assert small.same(state, whole) and lines == expected


@pytest.mark.usefixtures("interruptible")
def test_a_second_signal_stops_at_once(tmp_path: Path) -> None:
    def tick(n: int) -> None:
        if n:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        small.run(folder=tmp_path, tick=tick)


@pytest.mark.usefixtures("interruptible")
def test_an_ignored_signal_stays_ignored_and_the_other_one_is_handled() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    before, came = signal.getsignal(signal.SIGTERM), list[int]()
    restore = on_stop_signals(came.append)
    signal.raise_signal(signal.SIGINT)
    signal.raise_signal(signal.SIGTERM)
    restore()
    assert came == [signal.SIGTERM]
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    assert signal.getsignal(signal.SIGTERM) is before


def test_fit_runs_in_another_thread(tmp_path: Path) -> None:
    done: list[Any] = []
    thread = threading.Thread(target=lambda: done.append(small.run(folder=tmp_path)))
    thread.start()
    thread.join()
    assert small.same(done[0][0], small.run()[0])


@pytest.mark.parametrize(
    "options, sentence",
    [
        ({"seed": 1}, r"is a different one \(seed: 0 there, 1 here\); nothing was changed"),
        ({"batch_size": 8}, r"batch_size: 16 there, 8 here"),
        ({"config": {"rate": 0.1}}, r"config.rate: 0.5 there, 0.1 here"),
        ({"config": {}}, r"config.rate: 0.5 there, absent here"),
        ({"data": {**small.DATA, "x": small.X * 2}}, r"data.\['x'\]: float32\[70, 6\] crc"),
        ({"data": {**small.DATA, "z": small.X}}, r"data.\['z'\]: absent there"),
    ],
)
def test_another_run_is_refused(folder: Path, options: dict[str, Any], sentence: str) -> None:
    refused(folder, sentence, **options)


def test_another_key_or_model_is_refused(folder: Path) -> None:
    key = r"dropout_key: threefry2x32 \[0, 1\] there, threefry2x32 \[0, 2\] here"
    refused(folder, key, state=small.linen_state(jax.random.key(2)))
    state = small.linen_state()
    tx = optax.chain(optax.scale_by_schedule(lambda count: 0.1), optax.scale(-1.0))
    other = state.replace(tx=tx, opt_state=tx.init(state.params))
    found = refused(folder, "step 4 in .* is of another model or optimizer", state=other)
    assert "opt_state/0/count: absent there, int32[] here" in found
    wider = jax.tree.map(lambda a: np.zeros((*a.shape[:-1], 9), a.dtype) if a.ndim else a, state)
    with pytest.raises(jt.CheckpointError, match=r"float32\[8\] there, float32\[9\] here"):
        restore(folder, wider)


def test_a_damaged_run_file_is_an_error(folder: Path) -> None:
    deep = b'{"config": ' + b"[" * 5000 + b"]" * 5000 + b"}"
    for content in (b'{"seed": 0', b"[]", b"", b"\xff", b'{"seed": NaN}', deep):
        (folder / "run.json").write_bytes(content)
        refused(folder, r"run.json is damaged: .*; nothing was changed. Choose another folder")


def files_of(folder: Path, step: int) -> list[Path]:
    return sorted(p for p in (folder / "checkpoints" / str(step)).rglob("*") if p.is_file())


@BREAKS_ORBAX
def test_a_damaged_checkpoint_is_an_error_and_the_one_before_can_be_resumed(folder: Path) -> None:
    path = max(files_of(folder, 4), key=lambda p: p.stat().st_size)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    sentence = (
        r"the checkpoint of step 4 in .* is damaged .* to resume from step 3, .* delete .*/4$"
    )
    refused(folder, sentence)
    shutil.rmtree(folder / "checkpoints" / "4")
    state, _ = small.run(folder=folder, config={"rate": 0.5})
    assert small.same(state, small.run()[0])


@BREAKS_ORBAX
def test_every_missing_file_and_every_flipped_bit_is_noticed(folder: Path) -> None:
    """It is an error, or makes no difference: the numbers that come back are those saved."""
    like = small.linen_state()
    whole = restore(folder, like)
    for path in files_of(folder, 4):
        text = path.read_bytes()
        path.unlink()
        check_damage(folder, like, whole)
        for place in range(0, len(text), max(1, len(text) // 6)):
            path.write_bytes(text[:place] + bytes([text[place] ^ 16]) + text[place + 1 :])
            check_damage(folder, like, whole)
        path.write_bytes(text)
    assert small.same(restore(folder, like), whole)


def restore(folder: Path, like: Any) -> Any:
    from jaxdrop.training._checkpoints import Checkpoints

    checkpoints = Checkpoints(folder, 3)
    try:
        state, record = checkpoints.restore(4, like)
        assert record is None or record[0] == 5  # lines: four steps and an evaluation
        return state
    finally:
        checkpoints.close()


def check_damage(folder: Path, like: Any, whole: Any) -> None:
    try:
        read = restore(folder, like)
    except jt.CheckpointError as error:
        assert "is damaged" in str(error)
    else:
        assert small.same(read, whole)


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


def test_fewer_epochs_than_were_done_are_refused(tmp_path: Path) -> None:
    state, _ = small.run(folder=tmp_path, epochs=2)
    sentence = r"has done step 8, and epochs=1 end at step 4 \(4 in an epoch\).* Give epochs=2 or"
    refused(tmp_path, sentence, config=None, epochs=1)
    assert small.same(small.run(folder=tmp_path, epochs=2)[0], state)
    with pytest.raises(ValueError, match="got a state that has done step 8, and epochs=1 end at"):
        small.run(state=state, epochs=1)


def test_a_config_that_no_later_call_could_compare_is_refused(tmp_path: Path) -> None:
    for config, sentence in (
        ({"lr": float("nan")}, r"got config\['lr'\]=nan, which JSON cannot hold"),
        ({"a": [1, {"b": np.float32(np.inf)}]}, r"got config\['a'\]\[1\]\['b'\]=inf"),
        (
            {"f": len},
            r"got config\['f'\] of type builtin_function_or_method, expected a JSON value",
        ),
        ({1: 2}, r"got the name 1 in config, expected text"),
        ([1], r"got config=\[1\] of type list, expected a dict"),
    ):
        with pytest.raises((ValueError, TypeError), match=sentence):
            small.run(folder=tmp_path / "run", config=config)
    assert not (tmp_path / "run").exists()


def test_numbers_of_numpy_and_jax_in_a_config_are_those_of_python(tmp_path: Path) -> None:
    config = {"a": np.float32(0.5), "b": jax.numpy.arange(2), "c": (1, None), "d": np.bool_(True)}
    small.run(folder=tmp_path, epochs=1, config=config)
    small.run(folder=tmp_path, epochs=1, config={"a": 0.5, "b": [0, 1], "c": [1, None], "d": True})


def test_checkpoints_of_before_come_back(folder: Path) -> None:
    """Old ones have another fingerprint, and do not know how many lines were logged."""
    import orbax.checkpoint as ocp

    plain = words_of_keys(restore(folder, small.linen_state()))
    place = folder / "checkpoints" / "4" / "default"
    for flipped in (1, 0):
        state = plain.replace(step=plain.step ^ flipped)
        shutil.rmtree(place)
        with ocp.StandardCheckpointer() as checkpointer:
            checkpointer.save(
                place.absolute(), {"state": state, "fingerprint": linear_fingerprint(plain)}
            )
        if flipped:
            refused(folder, "step 4 in .* is damaged .its numbers are not those that were saved")
    assert small.same(small.run(folder=folder, config={"rate": 0.5})[0], small.run()[0])


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
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="root may mount a disk")
def test_a_full_disk_is_an_error(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.system(f"mount -t tmpfs -o size=192k tmpfs {disk} 2>/dev/null"):
        pytest.skip("no disk can be mounted here")
    try:
        with pytest.raises(
            jt.CheckpointError, match="could not be written to .*No space left"
        ) as error:
            small.run(folder=disk / "run", epochs=50, save_every=1, keep=100)
        saved = jt.saved_step(disk / "run")
        assert saved and f"step {saved} is whole" in str(error.value)
        assert not os.system(f"mount -o remount,size=64m {disk}")  # room is made
        assert small.same(small.run(folder=disk / "run")[0], small.run()[0])
    finally:
        os.system(f"umount {disk}")


def test_nan_is_null_in_the_lines(tmp_path: Path) -> None:
    def loss_fn(variables: Any, batch: Any, key: jax.Array) -> Any:
        return small.linen_loss(variables, batch, key), {"odd": jax.numpy.float32(np.nan)}

    small.run(folder=tmp_path, state=small.linen_state(), epochs=1)
    lines = jt.fit(
        small.linen_state(), loss_fn, small.DATA, seed=0, epochs=1, batch_size=16,
        folder=tmp_path / "nan", log_every=2,
    )[1]  # fmt: skip
    assert [line["odd"] for line in lines] == [None, None]
    text = (tmp_path / "nan" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in text] == lines
