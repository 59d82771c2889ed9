"""sweep(part=(i, n)): jobs that share a sweep, killed or not, make the table of a single call."""

import itertools
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdrop
import jaxdrop.training as jt
from jaxdrop.training._folder_lock import held

X = np.arange(8, dtype=np.float32)


def train(key: Any, rate: Any, x: Any) -> Any:
    return {"y": jaxdrop.dropout(key, x, rate)}


def run(folder: Path | None, **options: Any) -> Any:
    keys = jax.random.split(jax.random.key(0), 3)
    axes = {"key": keys, "rate": jnp.array([0.0, 0.25, 0.5])}  # 9 runs
    settings: dict[str, Any] = {"shared": {"x": X}, "chunk": 2} | options  # 5 chunks
    return jt.sweep(train, axes, folder=folder, **settings)


@pytest.fixture(scope="module")
def single() -> bytes:
    return table(run(None))


def table(result: Any) -> bytes:
    values: np.ndarray = result["y"]
    assert values.shape == (3, 3, 8)
    return values.tobytes()


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_parts_in_any_order_join_to_the_table_of_a_single_call(
    single: bytes, tmp_path: Path
) -> None:
    for name, order in enumerate(itertools.permutations((1, 2, 3))):
        folder, ran = tmp_path / str(name), []
        for i in order:
            done: list[int] = []
            assert run(folder, part=(i, 3), on_chunk=lambda n, way, d=done: d.append(n)) is None
            ran.append((i, done))
        assert sorted(ran) == [(1, [2, 4]), (2, [2, 3]), (3, [2])]  # chunks 0 3, 1 4, 2
        before = files(folder)
        seen: list[int] = []
        assert table(run(folder, on_chunk=lambda n, way, s=seen: s.append(n))) == single
        assert seen == [9]  # everything was there
        after = files(folder)
        assert after.pop("sweep.json") and after == before


def test_what_is_missing_is_run_by_the_call_that_joins(single: bytes, tmp_path: Path) -> None:
    def stop(n: int, way: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, part=(1, 2), on_chunk=stop)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, on_chunk=stop)  # found one chunk
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, on_chunk=lambda n, way: stop(n, way) if n > 2 else None)
    seen: list[int] = []
    run(tmp_path, part=(2, 3), on_chunk=lambda n, way: seen.append(n))
    assert seen == [2, 3]  # of another number of jobs: chunk 1, which the call before ran, and 4
    assert run(tmp_path, part=(9, 9), on_chunk=stop) is None  # there are five chunks
    (tmp_path / "part-3-of-3").mkdir()  # its job was killed before it had a plan
    (tmp_path / "part-3-of-3" / ".sweep.json.partial").write_text("half of")
    seen.clear()
    assert table(run(tmp_path, on_chunk=lambda n, way: seen.append(n))) == single
    assert seen[0] == 5 and seen[-1] == 9  # chunks 0, 1 and 4 were there


def test_a_part_of_another_sweep_is_refused_by_every_call(single: bytes, tmp_path: Path) -> None:
    run(tmp_path, part=(1, 2))
    before = files(tmp_path)
    for options in ({"part": (2, 2)}, {}):
        with pytest.raises(
            jt.CheckpointError, match=r"part-1-of-2 holds chunks of another sweep \(config.a: abse"
        ):
            run(tmp_path, config={"a": 1}, **options)
    assert files(tmp_path) == before
    chunk = tmp_path / "part-1-of-2" / "chunk-00002.msgpack"
    content = chunk.read_bytes()
    chunk.write_bytes(content[:-1])
    with pytest.raises(jt.CheckpointError, match=r"part-1-of-2/chunk-00002.msgpack is damaged or"):
        run(tmp_path)
    chunk.unlink()
    assert table(run(tmp_path)) == single
    plan = json.loads((tmp_path / "sweep.json").read_text())
    assert plan == json.loads((tmp_path / "part-1-of-2" / "sweep.json").read_text())


def test_jobs_lock_their_own_part_and_a_call_for_all_waits_for_none(tmp_path: Path) -> None:
    def others(n: int, way: str) -> None:
        for options in ({"part": (1, 2)}, {}):
            with pytest.raises(jt.CheckpointError, match="part-1-of-2 is in use by sweep in proc"):
                run(tmp_path, **options)
        run(tmp_path, part=(2, 2))

    run(tmp_path, part=(1, 2), on_chunk=others)
    with held(tmp_path, "another"):
        run(tmp_path, part=(1, 2))  # a part does not ask for the whole folder
    assert not list(tmp_path.rglob(".*"))


def test_a_part_leaves_a_folder_of_something_else_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(jt.CheckpointError, match=r"holds thesis.tex but no sweep.json"):
        run(tmp_path, part=(1, 2))
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    "options, sentence",
    [
        ({"part": (3, 2)}, r"got part=\(3, 2\), expected \(i, n\) for job i of n, 1 <= i <= n"),
        ({"part": (0, 2)}, r"got part=\(0, 2\)"),
        ({"part": (1, 2), "folder": None}, r"got part=\(1, 2\) with folder=None"),
        ({"part": (1, 2), "vectorize": "auto", "trial": train}, r"'auto' may choose another way"),
    ],
)
def test_parts_without_meaning_are_refused(
    options: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=sentence):
        run(**{"folder": tmp_path / "sweep", **options})
    assert not (tmp_path / "sweep").exists()
