"""The image data sets: their files and checksums, the folder they live in, and how to get them."""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments._data.idx import Content, read_idx
from experiments._harness.result import CannotRun

VARIABLE = "JAXDROP_DATA"


class ImageSet(NamedTuple):
    """A data set as four IDX files of unsigned bytes, 0 to 255 and 0 to 9."""

    title: str
    files: dict[str, Content]
    """Images and labels to train on, and to test on."""


MNIST = ImageSet(
    "MNIST, 60,000 + 10,000 handwritten digits of 28x28 pixels",
    {
        "train-images-idx3-ubyte": Content("6bbc9ace898e44ae57da46a324031adb", 47_040_016),
        "train-labels-idx1-ubyte": Content("a25bea736e30d166cdddb491f175f624", 60_008),
        "t10k-images-idx3-ubyte": Content("2646ac647ad5339dbf082846283269ea", 7_840_016),
        "t10k-labels-idx1-ubyte": Content("27ae3e4e09519cfbb04c329615203637", 10_008),
    },
)
FASHION = ImageSet(
    "Fashion-MNIST, 60,000 + 10,000 pieces of clothing of 28x28 pixels",
    {
        "train-images-idx3-ubyte": Content("f4a8712d7a061bf5bd6d2ca38dc4d50a", 47_040_016),
        "train-labels-idx1-ubyte": Content("9018921c3c673c538a1fc5bad174d6f9", 60_008),
        "t10k-images-idx3-ubyte": Content("8181f5470baa50b63fa0f6fddb340f0a", 7_840_016),
        "t10k-labels-idx1-ubyte": Content("15d484375f8d13e6eb1aabb0c3f46965", 10_008),
    },
)
CIFAR10 = ImageSet(
    "CIFAR-10, 50,000 + 10,000 photographs of 32x32 pixels in three colours",
    {
        "train-images-idx4-ubyte": Content("e6a0a6cfff866c540778d6ccf8d89742", 153_600_020),
        "train-labels-idx1-ubyte": Content("2448b73f9f4d9f2ba3f204bdcefa79ea", 50_008),
        "t10k-images-idx4-ubyte": Content("ed3eb9d292d44929aa1b3d89556b597e", 30_720_020),
        "t10k-labels-idx1-ubyte": Content("5171b1501f6d598f7ca532c4ae9f070c", 10_008),
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
    return [read_idx(folder, *file, how(name, chosen)) for file in kind.files.items()]
