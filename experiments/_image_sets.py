"""The image data sets: their files and checksums, the folder they live in, and how to get them."""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments._idx import read_idx
from experiments._result import CannotRun

VARIABLE = "JAXDROP_DATA"


class ImageSet(NamedTuple):
    """A data set as four IDX files of unsigned bytes, 0 to 255 and 0 to 9."""

    title: str
    files: dict[str, str]
    """Name of a file and md5 of its uncompressed bytes: images and labels to train on and test."""


MNIST = ImageSet(
    "MNIST, 60,000 + 10,000 handwritten digits of 28x28 pixels",
    {
        "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
        "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
        "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
        "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
    },
)
FASHION = ImageSet(
    "Fashion-MNIST, 60,000 + 10,000 pieces of clothing of 28x28 pixels",
    {
        "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
        "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
        "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
    },
)
CIFAR10 = ImageSet(
    "CIFAR-10, 50,000 + 10,000 photographs of 32x32 pixels in three colours",
    {
        "train-images-idx4-ubyte": "e6a0a6cfff866c540778d6ccf8d89742",
        "train-labels-idx1-ubyte": "2448b73f9f4d9f2ba3f204bdcefa79ea",
        "t10k-images-idx4-ubyte": "ed3eb9d292d44929aa1b3d89556b597e",
        "t10k-labels-idx1-ubyte": "5171b1501f6d598f7ca532c4ae9f070c",
    },
)
IMAGE_SETS = {"mnist": MNIST, "fashion": FASHION, "cifar10": CIFAR10}


def data_folder(chosen: str | None = None) -> Path:
    """Return the folder that holds data sets: the one chosen, else JAXDROP_DATA, else the cache."""
    if chosen is not None:
        return Path(chosen)
    if os.environ.get(VARIABLE):
        return Path(os.environ[VARIABLE])
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "jaxdrop"


def how(name: str, chosen: str | None = None) -> str:
    """Return what to type to get a data set."""
    return f"scripts/run fetch {name}" + (f" --data-dir {chosen}" if chosen else "")


def read_image_set(name: str, chosen: str | None = None) -> list[np.ndarray]:
    """Read the four arrays of a data set, every checksum verified.

    Args:
      name: a key of IMAGE_SETS.
      chosen: the folder, as for ``data_folder``; the files lie in it or in its subfolder ``name``.

    Raises:
      CannotRun: if a file is missing or not what it should be; says what to type.
    """
    root, kind = data_folder(chosen), IMAGE_SETS[name]
    folder = root / name if (root / name).is_dir() else root
    if not folder.is_dir():
        raise CannotRun(
            f"{kind.title.partition(',')[0]} was looked for in {root}, and there is no such "
            f"folder; to get it, type: {how(name, chosen)}"
        )
    return [read_idx(folder, file, md5, how(name, chosen)) for file, md5 in kind.files.items()]
