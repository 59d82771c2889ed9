"""Downloads and packages: continued where they ended, refused where they are not what was asked."""

import http.server
import io
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tyro", reason="experiments need the extra jaxdrop[experiments]")
from experiments._data import sources  # noqa: E402  (after the check)

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
