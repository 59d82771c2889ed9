"""The parts of an experiment that are done: each is kept in a file and not done twice."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import serialization

from experiments._harness.kept import keep, kept
from experiments._harness.tick import Tick, silent


class Parts:
    """A folder of finished parts, or none, where every part is done again."""

    def __init__(self, folder: Path | None, name: str = "", tick: Tick = silent):
        self.folder, self.name, self.tick = folder, name, tick

    def done(self) -> int:
        """Count the parts in the folder, of all names."""
        if self.folder is None:
            return 0
        steps = sum(1 + kept(file)["step"] for file in self.folder.glob("*.tree"))
        return steps + len(list(self.folder.glob("*.numbers")))

    def tree(self, name: str, step: int, tree: Any, advance: Callable[[Any], Any]) -> Any:
        """Return ``advance(tree)``, step number ``step`` of a training, and store it.

        A training has one file, its latest step: that step returns what is in there, and an
        earlier one returns its argument.
        """
        if self.folder is None:
            tree = jax.block_until_ready(advance(tree))
            self.tick()
            return tree
        file = self.folder / f"{self.name}-{name}.tree"
        stored: dict[str, Any] = kept(file) if file.exists() else {"step": -1}
        if step == stored["step"]:
            tree = jax.device_put(serialization.from_state_dict(tree, stored["tree"]))
        elif step > stored["step"]:
            tree = advance(tree)
            state = serialization.to_state_dict(jax.device_get(tree))
            keep(file, {"step": step, "tree": state})
        self.tick()
        return tree

    def numbers(self, name: str, compute: Callable[[], Any]) -> Any:
        """Return the arrays that compute returns, as nested lists; from the file if it is there."""
        file = self.folder / f"{self.name}-{name}.numbers" if self.folder else None
        if file is not None and file.exists():
            found = kept(file)
        else:
            found = [np.asarray(a, np.float64) for a in compute()]
            if file is not None:
                keep(file, found)
        self.tick()
        return [array.tolist() for array in found]
