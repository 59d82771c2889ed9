"""Fetching: whole or not at all, continued, and every failure told with what helps."""

import gzip
import hashlib
import http.server
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tyro", reason="experiments need the extra jaxdrop[experiments]")
from experiments import _image_sets, _sources, fetch  # noqa: E402  (after the check)
from experiments._idx import idx_bytes  # noqa: E402

FILES = {
    "train-images-idx3-ubyte": idx_bytes(np.zeros((6, 2, 2), np.uint8)),
    "train-labels-idx1-ubyte": idx_bytes(np.arange(6, dtype=np.uint8)),
    "t10k-images-idx3-ubyte": idx_bytes(np.ones((2, 2, 2), np.uint8)),
    "t10k-labels-idx1-ubyte": idx_bytes(np.arange(2, dtype=np.uint8)),
}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """MNIST of six digits."""
    md5 = {name: hashlib.md5(raw).hexdigest() for name, raw in FILES.items()}
    kind = _image_sets.ImageSet("MNIST, small", md5)
    monkeypatch.setitem(_image_sets.IMAGE_SETS, "mnist", kind)


def writes(**changes: bytes) -> _sources.Source:
    """A source that writes the files, some of them changed."""

    def get(work: Path) -> Path:
        for name, raw in FILES.items():
            (work / name).write_bytes(changes.get(name.partition("-idx")[0].replace("-", "_"), raw))
        return work

    return _sources.Source("a friend", get)


def fails(work: Path) -> Path:
    raise _sources.Unavailable("the line is dead")


DEAD = _sources.Source("a dead line", fails)


def call(folder: Path, *sources: _sources.Source, monkeypatch: pytest.MonkeyPatch) -> int:
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

    assert call(tmp_path, _sources.Source("slow", stops), monkeypatch=monkeypatch) == 130
    assert "What was downloaded is kept" in capsys.readouterr().err

    def goes_on(work: Path) -> Path:
        assert (work / "half").read_bytes() == b"half"
        return writes().get(work)

    assert call(tmp_path, _sources.Source("slow", goes_on), monkeypatch=monkeypatch) == 0
    assert "Going on with what an earlier call left" in capsys.readouterr().out
    assert [p.name for p in tmp_path.iterdir()] == ["mnist"]


def test_a_folder_that_cannot_be_written_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    (tmp_path / "file").write_text("")
    assert call(tmp_path / "file", writes(), monkeypatch=monkeypatch) == 2
    assert "cannot be written to (Not a directory); choose another" in capsys.readouterr().err


@pytest.mark.parametrize("tool", ["npm", "apt-get"])
def test_a_tool_that_is_missing_is_named(
    tool: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_sources.shutil, "which", lambda name: None)
    source = _sources.npm("a@1", "") if tool == "npm" else _sources.debian("a", "")
    with pytest.raises(_sources.Unavailable, match=f"{tool} is not installed"):
        source.get(tmp_path)


def test_a_tool_that_fails_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failed(command: Any, **options: Any) -> Any:
        return subprocess.CompletedProcess(command, 1, "", "npm error\nno network\n\n")

    monkeypatch.setattr(_sources.subprocess, "run", failed)
    with pytest.raises(_sources.Unavailable, match="npm pack failed: no network"):
        _sources.call(["npm", "pack", "x"], tmp_path)


class Ranges(http.server.BaseHTTPRequestHandler):
    """Serves one file of 1000 bytes, from where it is asked to."""

    content = bytes(range(250)) * 4
    asked: list[str | None] = []

    def do_GET(self) -> None:  # noqa: N802  (the name that http.server calls)
        start = int((self.headers["Range"] or "bytes=0-")[6:-1])
        self.asked.append(self.headers["Range"])
        missing = self.path != "/file"
        self.send_response(404 if missing else 206 if self.headers["Range"] else 200)
        self.end_headers()
        if not missing:
            self.wfile.write(self.content[start:])

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    with http.server.HTTPServer(("127.0.0.1", 0), Ranges) as server:
        Ranges.asked.clear()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_download_goes_on_where_it_was_cut_off(server: str, tmp_path: Path) -> None:
    (tmp_path / "file.partial").write_bytes(Ranges.content[:300])
    assert _sources.mirror(server, ("file",)).get(tmp_path) == tmp_path
    assert (tmp_path / "file").read_bytes() == Ranges.content
    assert Ranges.asked == ["bytes=300-"]
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    (tmp_path / "file").unlink()
    _sources.download(f"{server}/file", tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == Ranges.content


def test_a_server_without_the_file_or_no_server_is_told(server: str, tmp_path: Path) -> None:
    with pytest.raises(_sources.Unavailable, match="other: HTTP Error 404"):
        _sources.download(f"{server}/other", tmp_path / "other")
    with pytest.raises(_sources.Unavailable, match="refused"):
        _sources.download("http://127.0.0.1:9/file", tmp_path / "file")


def test_compressed_files_are_installed_uncompressed(tmp_path: Path) -> None:
    for name, raw in FILES.items():
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(raw))
    kind = _image_sets.IMAGE_SETS["mnist"]
    fetch.install(kind, tmp_path, tmp_path / "verified", tmp_path / "mnist")
    assert {p.name: p.read_bytes() for p in (tmp_path / "mnist").iterdir()} == FILES
