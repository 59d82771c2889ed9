"""SweepFolder: the chunks of a sweep that are done, each written whole or not at all."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flax.serialization
import jax
import numpy as np

PLAN = "sweep.json"


class SweepFolder:
    """Keep what a sweep has finished in a folder, with a plan that says which sweep it is.

    The plan is written first. A chunk is a file ``chunk-00000.msgpack`` that is written beside its
    place and then moved there, so that a kill at any moment leaves whole chunks only.
    """

    def __init__(self, folder: str | os.PathLike[str]):
        self.folder = Path(folder)

    def stored_plan(self) -> dict[str, Any] | None:
        """Return the plan of the sweep that the folder holds, or None if it holds none.

        Raises:
          ValueError: if there is a plan that cannot be read.
        """
        path = self.folder / PLAN
        if not path.exists():
            return None
        try:
            plan = json.loads(path.read_text(encoding="utf-8"))
            assert isinstance(plan, dict)
            return plan
        except (OSError, ValueError, AssertionError) as error:
            raise ValueError(
                f"{path} cannot be read as the plan of a sweep; choose another folder, or remove "
                "this one to start afresh"
            ) from error

    def begin(self, plan: Mapping[str, Any]) -> None:
        """Write the plan, or make sure that the one in the folder is the same.

        Raises:
          OSError: if the folder cannot be written to.
          ValueError: if the folder belongs to another sweep; names what differs.
        """
        wanted, stored = json.loads(json.dumps(plan)), self.stored_plan()
        if stored is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._write(PLAN, json.dumps(wanted, indent=1).encode() + b"\n")
            return
        odd = [name for name in sorted(wanted | stored) if wanted.get(name) != stored.get(name)]
        if odd:
            changes = "; ".join(
                f"{name} was {stored.get(name)}, is {wanted.get(name)}" for name in odd
            )
            raise ValueError(
                f"{self.folder} holds chunks of another sweep ({changes}); choose another folder, "
                "or remove this one to start afresh"
            )

    def load(self, number: int, like: Any) -> Any | None:
        """Return a chunk's results in the structure, shapes and dtypes of ``like``, or None.

        Raises:
          ValueError: if the file is damaged or of another structure.
        """
        path = self._path(number)
        if not path.exists():
            return None
        leaves, structure = jax.tree.flatten(like)
        try:
            stored = flax.serialization.msgpack_restore(path.read_bytes())
            found = [stored[str(i)] for i in range(len(leaves))]
            if [(a.shape, a.dtype) for a in found] != [(a.shape, a.dtype) for a in leaves]:
                raise ValueError("other shapes")
        except Exception as error:  # msgpack has errors of many kinds for damaged bytes
            raise ValueError(
                f"{path} is damaged or of another sweep; remove it: its runs alone are done again"
            ) from error
        return jax.tree.unflatten(structure, found)

    def save(self, number: int, results: Any) -> None:
        """Write a chunk's results.

        Raises:
          OSError: if it cannot be written; what was saved before is as it was.
        """
        leaves = {str(i): np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(results))}
        self._write(self._path(number).name, flax.serialization.msgpack_serialize(leaves))

    def _path(self, number: int) -> Path:
        return self.folder / f"chunk-{number:05d}.msgpack"

    def _write(self, name: str, content: bytes) -> None:
        partial = self.folder / f".{os.getpid()}-{name}"
        try:
            with open(partial, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, self.folder / name)
        finally:
            partial.unlink(missing_ok=True)
