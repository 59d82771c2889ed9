"""Dataset: the rows that fit trains on, arrays in memory or a data source, read by number."""

import zlib
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np


class Dataset:
    """Rows that can be counted and read by number.

    Attributes:
      count: how many there are.
      arrays: the arrays of data in memory; None for a source.
      description: what a resumed run compares: the count; for arrays also shapes and a CRC.
    """

    def __init__(self, data: Any, name: str):
        self._source, self.arrays = None, None
        leaves = jax.tree_util.tree_leaves_with_path(data)
        if len(leaves) == 1 and leaves[0][1] is data and not hasattr(data, "dtype"):
            if not (hasattr(data, "__getitem__") and hasattr(data, "__len__")):
                raise TypeError(
                    f"got {name} of type {type(data).__name__}, expected arrays with one leading "
                    "axis (a dict, a tuple), or a source with a length and rows by number, such "
                    "as a grain.MapDataset: the order of the rows is a function of (seed, epoch)"
                )
            self._source, self.count = data, len(data)
            self.description: dict[str, Any] = {"rows": self.count}
        elif not leaves:
            raise ValueError(
                f"got {name} of type {type(data).__name__} without an array, expected one or more "
                "arrays with the same leading axis, the rows"
            )
        else:
            named = {jax.tree_util.keystr(path): leaf for path, leaf in leaves}
            self.count = _common_length(named, name)
            arrays = {path: _as_numpy(leaf, name + path) for path, leaf in named.items()}
            self.arrays = jax.tree.unflatten(jax.tree.structure(data), list(arrays.values()))
            described = {path: _describe(array) for path, array in arrays.items()}
            self.description = {"rows": self.count, **described}
        if self.count < 1:
            raise ValueError(f"{name} has no rows")

    def take(self, numbers: Sequence[int] | np.ndarray) -> Any:
        """Return the rows of these numbers, stacked along a new leading axis, as NumPy arrays."""
        if self._source is None:
            return jax.tree.map(lambda a: a[numbers], self.arrays)
        rows = [self._source[int(i)] for i in numbers]
        return jax.tree.map(lambda *parts: _as_numpy(np.stack(parts), "rows"), *rows)


def _as_numpy(array: Any, name: str) -> np.ndarray:
    array = np.asarray(array)
    if array.dtype.kind in "OSUMm":
        raise TypeError(f"got {name} of dtype {array.dtype}, expected numbers or bools")
    return array.astype(jax.dtypes.canonicalize_dtype(array.dtype), copy=False)


def _common_length(arrays: dict[str, Any], name: str) -> int:
    shapes = {path: np.shape(array) for path, array in arrays.items()}
    lengths = {shape[0] for shape in shapes.values() if shape}
    if len(lengths) != 1 or () in shapes.values():
        found = ", ".join(f"{path} {shape}" for path, shape in [*shapes.items()][:4])
        more = f" and {len(shapes) - 4} more" if len(shapes) > 4 else ""
        raise ValueError(
            f"{name} has arrays of shapes {found}{more}; expected one or more arrays with the same "
            "leading axis, the rows (a list counts as one array per number; numpy.asarray makes "
            "it one)"
        )
    return int(lengths.pop())


def _describe(array: np.ndarray) -> str:
    crc = zlib.crc32(np.ascontiguousarray(array).view(np.uint8).data) if array.size else 0
    return f"{array.dtype}{list(array.shape)} crc {crc:08x}"
