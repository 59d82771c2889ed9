"""Fetching: whole or not at all, continued; every failure says what helps."""

import gzip
import hashlib
import http.server
import io
import subprocess
import tarfile
import threading
from collections.abc import Iterator
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


CONTENT = bytes(range(250)) * 4


class Files(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT in ways that are named by the path, from where it is asked to."""

    asked: list[str | None] = []

    def do_GET(self) -> None:  # noqa: N802  (the name that http.server calls)
        self.asked.append(self.headers["Range"])
        start = int((self.headers["Range"] or "bytes=0-")[6:-1])
        content = CONTENT + b"more" if self.path == "/longer" else CONTENT
        if self.path == "/shorter":
            content = CONTENT[:200]
        if self.path == "/other":
            self.send_error(404)
        elif start >= len(content):
            self.send_error(416)
        else:
            self.answer(start if self.path != "/whole" else 0, content)

    def answer(self, start: int, content: bytes) -> None:
        body = content[start:]
        if start:
            self.send_response(206)
            first = start + (self.path == "/shifted")
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        if self.path != "/unsaid":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        cut = self.path in ("/cut", "/unsaid") and len(self.asked) == 1
        self.wfile.write(body[:400] if cut else body)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    with http.server.HTTPServer(("127.0.0.1", 0), Files) as server:
        Files.asked.clear()
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("name", ["cut", "unsaid"])
def test_a_connection_that_ends_early_is_seen_and_gone_on_with(
    name: str, server: str, tmp_path: Path
) -> None:
    source = sources.mirror(server, {name: len(CONTENT)})
    with pytest.raises(sources.Unavailable, match="ended after 400 of 1000 bytes, which are kept"):
        source.get(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == [f"{name}.partial"]
    assert source.get(tmp_path) == tmp_path
    assert (tmp_path / name).read_bytes() == CONTENT and len(list(tmp_path.iterdir())) == 1
    assert Files.asked == [None, "bytes=400-"]


@pytest.mark.parametrize(
    "name, left, asked",
    [
        ("file", CONTENT[:300], ["bytes=300-"]),
        ("file", b"", [None]),
        ("file", CONTENT, []),  # all of it is there: a server would answer 416
        ("file", CONTENT + b"x", [None]),  # longer than the file: of another one
        ("whole", CONTENT[:300], ["bytes=300-"]),  # a server that knows no ranges
    ],
)
def test_what_an_earlier_call_left_is_used(
    name: str, left: bytes, asked: list[str | None], server: str, tmp_path: Path
) -> None:
    (tmp_path / f"{name}.partial").write_bytes(left)
    sources.download(f"{server}/{name}", tmp_path / name, len(CONTENT))
    assert (tmp_path / name).read_bytes() == CONTENT
    assert Files.asked == asked


@pytest.mark.parametrize(
    "name, sentence, asked",
    [
        ("other", "other: HTTP Error 404", ["bytes=300-"]),
        ("longer", "a file of 1004 bytes, expected 1000", ["bytes=300-"]),
        ("shorter", "a file of 200 bytes, expected 1000", ["bytes=300-", None]),  # 416, then anew
        ("shifted", "asked for the bytes from 300 on, the server sent others", ["bytes=300-"]),
    ],
)
def test_a_server_with_another_file_is_told(
    name: str, sentence: str, asked: list[str | None], server: str, tmp_path: Path
) -> None:
    (tmp_path / f"{name}.partial").write_bytes(CONTENT[:300])
    with pytest.raises(sources.Unavailable, match=sentence):
        sources.download(f"{server}/{name}", tmp_path / name, len(CONTENT))
    assert Files.asked == asked and not (tmp_path / name).exists()


def test_a_server_that_sends_without_end_fills_no_disk(server: str, tmp_path: Path) -> None:
    sources.download(f"{server}/unsaid", tmp_path / "file", 250)
    assert (tmp_path / "file").read_bytes() == CONTENT[:250]  # the checksum tells the rest


def test_no_server_and_no_room_are_told(server: str, tmp_path: Path) -> None:
    with pytest.raises(sources.Unavailable, match="refused"):
        sources.download("http://127.0.0.1:9/file", tmp_path / "file", 1000)
    (tmp_path / "full.partial").symlink_to("/dev/full")
    with pytest.raises(sources.Unavailable, match="No space left on device"):
        sources.download(f"{server}/file", tmp_path / "full", len(CONTENT))


def archive(folder: Path, content: bytes) -> None:
    with tarfile.open(folder / "a-1.tgz", "w:gz") as tar:
        member = tarfile.TarInfo("package/file")
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))


def test_a_package_is_unpacked_to_its_known_size_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources.shutil, "which", lambda name: name)
    source = sources.npm("a-1", "package", 1000)
    archive(tmp_path, CONTENT)
    assert (source.get(tmp_path) / "file").read_bytes() == CONTENT
    archive(tmp_path, bytes(5_000_000))  # of which a thousandth is stored
    with pytest.raises(sources.Unavailable, match="more than the .* and was removed"):
        source.get(tmp_path)
    assert not (tmp_path / "a-1.tgz").exists()


@pytest.mark.parametrize("damage", ["short", "flipped"])
def test_a_damaged_package_is_removed(
    damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources.shutil, "which", lambda name: name)
    archive(tmp_path, np.random.RandomState(0).bytes(1000))
    path = tmp_path / "a-1.tgz"
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 255
    path.write_bytes(raw[:500] if damage == "short" else raw)
    with pytest.raises(sources.Unavailable, match="is damaged .* and was removed"):
        sources.npm("a-1", "package", 1000).get(tmp_path)
    assert not path.exists()


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
