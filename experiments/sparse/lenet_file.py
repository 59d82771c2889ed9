"""A run of ``sparse`` under way, in a file: where it is, its state, and what it measured."""

from pathlib import Path
from typing import Any

import flax.serialization
import jax
import numpy as np

from experiments._harness.kept import keep, kept
from experiments.sparse.lenet import Epoch
from jaxdrop.training import TrainState


def save(path: Path, state: TrainState, pieces: list[Epoch]) -> None:
    """Write the state and the pieces that are done; the old file stays until the new is whole."""
    content = {"state": _arrays(state), "pieces": [tuple(piece) for piece in pieces]}
    keep(path, flax.serialization.to_state_dict(jax.tree.map(np.asarray, content)))


def load(path: Path, state: TrainState) -> tuple[TrainState, list[Epoch]]:
    """Return the state and the pieces in the file, or those of the start if there is no file.

    Args:
      path: where ``save`` wrote.
      state: the run's state at the start; it gives the structure and the dropout key.

    Raises:
      CannotRun: if the file is damaged.
    """
    if not path.exists():
        return state, []
    content = kept(path)
    found = flax.serialization.from_state_dict(_arrays(state), content["state"])
    pieces = [Epoch(*(piece[str(i)] for i in range(4))) for piece in ordered(content["pieces"])]
    return state.replace(**jax.tree.map(jax.numpy.asarray, found)), pieces


def ordered(numbered: dict[str, Any]) -> list[Any]:
    """Return the entries of a list that flax stored as {"0": ..., "1": ...}."""
    return [numbered[str(i)] for i in range(len(numbered))]


def _arrays(state: TrainState) -> dict[str, Any]:
    """Return what changes in training; the dropout key is a function of the seed."""
    return {"params": state.params, "opt_state": state.opt_state, "step": state.step}
