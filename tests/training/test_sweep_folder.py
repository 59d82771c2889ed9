"""What a sweep keeps: no bit of it changes unnoticed, and no other sweep resumes from it."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdrop
import jaxdrop.training as jt
from jaxdrop.training import _atomic_file, _sweep_folder
from jaxdrop.training._folder_lock import held
from jaxdrop.training._sweep_folder import SweepFolder
from jaxdrop.training._sweep_identity import identity
from tests.training import test_sweep
from tests.training.disk import by_root, mounted, remount

AXES = {"rate": [0.0, 0.25, 0.5, 0.75]}
SHARED = {"x": np.arange(8, dtype=np.float32)}
SHAPE = jax.ShapeDtypeStruct((2,), np.float32)
CONSTANT = np.arange(3, dtype=np.float32)


def train(rate: Any, x: Any) -> Any:
    return jnp.mean(jaxdrop.dropout(jax.random.key(0), x, rate)) + jnp.asarray(CONSTANT).sum()


def run(folder: Path | None, how: Callable[..., Any] = train, **options: Any) -> Any:
    settings: dict[str, Any] = {"shared": SHARED, "chunk": 2, "folder": folder} | options
    result: Any = jt.sweep(how, settings.pop("axes", AXES), **settings)
    return result


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A finished sweep of two chunks."""
    run(tmp_path / "sweep")
    return tmp_path / "sweep"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def refused(folder: Path, sentence: str, how: Callable[..., Any] = train, **options: Any) -> None:
    before = contents(folder)
    with pytest.raises(jt.CheckpointError, match=sentence) as error:
        run(folder, how, **options)
    assert contents(folder) == before and "\n" not in str(error.value)


def test_every_flipped_bit_and_every_cut_of_a_chunk_is_refused(folder: Path) -> None:
    kept = SweepFolder(folder, lambda: None)
    kept.begin(json.loads((folder / "sweep.json").read_text()))
    path = folder / "chunk-00001.msgpack"
    content = path.read_bytes()
    whole = kept.load(1, SHAPE)
    damaged = [content[:n] for n in range(len(content))] + [content + b"\0"]
    for bit in range(8 * len(content)):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        damaged.append(bytes(flipped))
    assert len(damaged) > 500
    for text in damaged:
        path.write_bytes(text)
        with pytest.raises(
            jt.CheckpointError, match=r"chunk-00001.msgpack is damaged or of another"
        ):
            kept.load(1, SHAPE)
    path.write_bytes(content)
    np.testing.assert_array_equal(kept.load(1, SHAPE), whole)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["bfloat16", "float8_e4m3fn", "bool", "uint8", "complex64"])
def test_results_of_every_dtype_come_back(dtype: str, tmp_path: Path) -> None:
    def values(rate: Any) -> Any:
        return {"a": (jnp.arange(3) * rate).astype(dtype), "b": ()}

    with jax.numpy_dtype_promotion("standard"):
        first, again = (run(tmp_path, values, shared={}) for _ in range(2))
    assert first["a"].dtype == again["a"].dtype == dtype and again["b"] == ()
    assert first["a"].tobytes() == again["a"].tobytes()


def test_swapped_chunks_and_those_of_another_sweep_are_refused(folder: Path) -> None:
    chunks = [folder / f"chunk-0000{n}.msgpack" for n in range(2)]
    first, second = (path.read_bytes() for path in chunks)
    chunks[0].write_bytes(second)
    chunks[1].write_bytes(first)
    refused(folder, "chunk-00000.* is damaged or of another sweep .its checksum is of other bytes.")
    other: dict[str, Any] = {"axes": {"rate": [0.0, 0.25, 0.5, 0.7]}}
    run(folder.parent / "other", **other)
    chunks[0].write_bytes((folder.parent / "other" / chunks[0].name).read_bytes())
    refused(folder, "chunk-00000.* is damaged or of another sweep")
    chunks[0].unlink()
    chunks[1].write_bytes(second)
    np.testing.assert_array_equal(run(folder), run(None))


def other_constant(rate: Any, x: Any) -> Any:
    changed = CONSTANT + np.eye(3, dtype=np.float32)[1]
    return jnp.mean(jaxdrop.dropout(jax.random.key(0), x, rate)) + jnp.asarray(changed).sum()


def other_sum(rate: Any, x: Any) -> Any:
    return jnp.sum(jaxdrop.dropout(jax.random.key(0), x, rate)) + jnp.asarray(CONSTANT).sum()


@pytest.mark.slow
@pytest.mark.parametrize(
    "options, sentence",
    [
        ({"how": other_sum}, r"holds chunks of another sweep \(train: \w{32} there, \w{32} here"),
        ({"how": other_constant}, r"another sweep \(train: "),
        ({"shared": {"x": SHARED["x"] + 1}}, r"another sweep \(shared.x: \w{32} there"),
        ({"shared": {"x": -SHARED["x"]}}, r"another sweep \(shared.x: "),
        ({"shared": {"x": np.arange(8, dtype=np.float16)}}, r"\(shared.x: .*; train: "),
        ({"config": {"a": 1}}, r"config.a: absent there, 1 here"),
    ],
)  # fmt: skip
def test_another_train_or_other_data_are_refused(
    options: dict[str, Any], sentence: str, folder: Path
) -> None:
    with jax.numpy_dtype_promotion("standard"):
        refused(folder, sentence, **options)


def test_the_same_train_by_another_name_goes_on(folder: Path) -> None:
    whole = run(folder)
    (folder / "chunk-00001.msgpack").unlink()
    np.testing.assert_array_equal(run(folder, lambda rate, x: train(rate, x)), whole)


IDENTITY = """
import json, runpy, sys
from jaxdrop.training._sweep_identity import identity
tests = runpy.run_path(sys.argv[1])
run = {name: values[0] for name, values in tests["axes"]().items()}
print(json.dumps(identity(tests["make_train"](), run, tests["SHARED"])))
"""


@pytest.mark.slow
def test_the_identity_is_the_same_in_every_process() -> None:
    """This process has traced much before; the other one has not, and has other hashes."""
    run = {name: values[0] for name, values in test_sweep.axes().items()}
    here = identity(test_sweep.make_train(), run, test_sweep.SHARED)
    root = Path(__file__).parents[2]
    there = subprocess.run(
        [sys.executable, "-c", IDENTITY, str(test_sweep.__file__)],
        env=os.environ | {"PYTHONHASHSEED": "1", "PYTHONPATH": str(root)},
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert json.loads(there) == here


@pytest.mark.slow
def test_keys_and_callbacks_are_part_of_the_identity() -> None:
    def called(rate: Any) -> Any:
        jax.debug.print("{}", rate)
        return rate

    def train_with(key: Any) -> Any:
        return identity(lambda rate: rate + jax.random.normal(key), {"rate": 0.5}, {})["train"]

    assert train_with(jax.random.key(0)) == train_with(jax.random.key(0))
    assert train_with(jax.random.key(0)) != train_with(jax.random.key(1))
    assert identity(called, {"rate": 0.5}, {}) == identity(called, {"rate": 0.5}, {})
    shared = [
        identity(lambda key: 0.0, {}, {"key": jax.random.key(n)})["shared"] for n in (0, 0, 1)
    ]
    assert shared[0] == shared[1] != shared[2]


def test_other_versions_are_named_where_they_may_be_the_reason(folder: Path) -> None:
    plan = json.loads((folder / "sweep.json").read_text())
    plan["made_with"]["jax"] = "0.9.0"
    (folder / "sweep.json").write_text(json.dumps(plan))
    np.testing.assert_array_equal(run(folder), run(None))  # the same program, whatever made it
    refused(folder, rf"train: .* under other versions \(jax: 0.9.0 there, {jax.__version__} here\)",
            how=other_sum)  # fmt: skip


@pytest.mark.parametrize(
    "plan, sentence",
    [
        (b"", "sweep.json is damaged: it is not JSON"),
        (b"\xff", "sweep.json is damaged: byte 0 is not UTF-8"),
        (b"[]", r"sweep.json is damaged: it is \[\], expected an object"),
        (b"{}", r"started with another version of jaxdrop \(format 1 there, 2 here\)"),
        (b'{"axes": {}, "width": 2, "vectorize": "vmap"}', r"format 1 there, 2 here\); use that"),
        (b'{"format": "2"}', r"format 2 there"),
        (b'{"format": 2}', r"another sweep \(axes.rate: absent there"),
    ],
)
@pytest.mark.parametrize("vectorize", ["vmap", "auto"])
def test_a_plan_that_is_damaged_or_older_is_an_error(
    plan: bytes, sentence: str, vectorize: str, folder: Path
) -> None:
    (folder / "sweep.json").write_bytes(plan)
    if vectorize == "auto" and plan.startswith(b"{") and b"vmap" not in plan:
        sentence = "sweep.json is damaged: vectorize is null, expected .vmap. or .map."
    refused(folder, sentence, vectorize=vectorize, trial=train)


def test_two_sweeps_at_once_in_a_folder_are_one_too_many(folder: Path) -> None:
    def again(*args: Any) -> None:
        with pytest.raises(jt.CheckpointError, match=r"sweep is in use by sweep in process \d+ on"):
            run(folder)

    run(folder, on_chunk=again)
    with held(folder, "another"):
        refused(folder, "in use by another")
    assert not (folder / ".jaxdrop-lock").exists()


def test_a_folder_deleted_during_a_sweep_is_an_error(tmp_path: Path) -> None:
    def delete(done: int, way: str) -> None:
        if done == 2:
            shutil.rmtree(tmp_path / "sweep")

    with pytest.raises(
        jt.CheckpointError, match="sweep was deleted or moved, or .jaxdrop-lock in it, whi"
    ):
        run(tmp_path / "sweep", on_chunk=delete)
    assert not (tmp_path / "sweep").exists()


def no_space(*args: Any) -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_is_an_error_and_what_was_saved_stays(
    call: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(folder)
    (folder / "chunk-00001.msgpack").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(_atomic_file.os, call, no_space)
        told = r"could not be written \(No space left on device\); what was saved before is whole"
        refused(folder, f"chunk-00001.msgpack {told}")
        with pytest.raises(jt.CheckpointError, match=f"sweep.json {told}"):
            run(folder.parent / "new")
    assert list((folder.parent / "new").iterdir()) == []
    np.testing.assert_array_equal(run(folder), whole)


@pytest.mark.slow
@by_root
def test_a_disk_that_is_full_then_larger_then_read_only(tmp_path: Path) -> None:
    with mounted(tmp_path, "64k") as disk:
        options: dict[str, Any] = {"shared": {}, "chunk": 1, "folder": disk / "sweep"}
        with pytest.raises(
            jt.CheckpointError, match=r"could not be written \(No space left on dev"
        ):
            run(how=wide, **options)
        saved = len(list((disk / "sweep").glob("chunk-*")))
        assert 0 < saved < 4
        remount(disk, "size=1m")
        done: list[int] = []
        got = run(how=wide, on_chunk=lambda n, way: done.append(n), **options)
        np.testing.assert_array_equal(got[:, 0], AXES["rate"])
        assert done[0] == saved
        remount(disk, "ro")
        refused(disk / "sweep", r"cannot be written to \(Read-only file system\)", how=wide)


def wide(rate: Any) -> Any:
    return jnp.full(4000, rate)


def test_what_cannot_be_written_at_all_is_an_error_before_any_work(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deny(*args: Any, **options: Any) -> Any:
        raise PermissionError(13, "Permission denied")

    def never(**kwargs: Any) -> Any:
        raise AssertionError("nothing was to be run")

    monkeypatch.setattr(_sweep_folder.Path, "mkdir", deny)
    refused(folder, r"the folder .* cannot be written to \(Permission denied\)", how=never)


def test_what_kills_leave_beside_the_chunks_is_no_obstacle(folder: Path) -> None:
    whole = run(folder)
    (folder / "chunk-00001.msgpack").unlink()
    for name in (".sweep.json.partial", ".chunk-00001.msgpack.partial", ".jaxdrop-lock"):
        (folder / name).write_text("half of")
    np.testing.assert_array_equal(run(folder), whole)
    assert sorted(contents(folder)) == [
        ".sweep.json.partial", "chunk-00000.msgpack", "chunk-00001.msgpack", "sweep.json",
    ]  # fmt: skip


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    refused(tmp_path, "holds thesis.tex but no sweep.json, so it is not known whose it is")


def test_keys_as_results_are_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"train returned typed keys; return jax.random.key_data"):
        jt.sweep(lambda key: key, {"key": jax.random.split(jax.random.key(0), 2)}, folder=tmp_path)
