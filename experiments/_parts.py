"""The parts of an experiment that are done: each is kept in a file and not done twice."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import serialization

from experiments._result import replacing


class Parts:
    """A folder of finished parts, or none, where every part is done anew."""

    def __init__(
        self, folder: Path | None, name: str = "", tick: Callable[..., None] = lambda n=1: None
    ):
        self.folder, self.name, self.tick = folder, name, tick

    def done(self) -> int:
        """Count the parts in the folder, of all names."""
        if self.folder is None:
            return 0
        steps = sum(1 + self._stored(file)["step"] for file in self.folder.glob("*.tree"))
        return steps + len(list(self.folder.glob("*.numbers")))

    def tree(self, name: str, step: int, tree: Any, advance: Callable[[Any], Any]) -> Any:
        """Return ``advance(tree)``, step number step of a training, and store it.

        A training has one file, its latest step: that step returns what is in there, and an
        earlier one returns its argument.
        """
        if self.folder is None:
            tree = jax.block_until_ready(advance(tree))
            self.tick()
            return tree
        file = self.folder / f"{self.name}-{name}.tree"
        stored = self._stored(file) if file.exists() else {"step": -1}
        if step == stored["step"]:
            tree = jax.device_put(serialization.from_state_dict(tree, stored["tree"]))
        elif step > stored["step"]:
            tree = advance(tree)
            state = {"step": step, "tree": serialization.to_state_dict(jax.device_get(tree))}
            with replacing(file) as partial:
                partial.write_bytes(serialization.msgpack_serialize(state))
        self.tick()
        return tree

    def numbers(self, name: str, compute: Callable[[], Any]) -> Any:
        """Return the arrays that compute returns, as nested lists; from the file if it is there."""
        file = self.folder / f"{self.name}-{name}.numbers" if self.folder else None
        if file is not None and file.exists():
            found = json.loads(file.read_text())
        else:
            found = [np.asarray(a, np.float64).tolist() for a in compute()]
            if file is not None:
                with replacing(file) as partial:
                    partial.write_text(json.dumps(found))
        self.tick()
        return found

    def _stored(self, file: Path) -> Any:
        return serialization.msgpack_restore(file.read_bytes())
