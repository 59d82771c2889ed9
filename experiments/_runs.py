"""Runs of an experiment through ``jaxdrop.training.sweep``: kept one by one, and counted."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax

from experiments._data import Split
from experiments._result import CannotRun
from jaxdrop.training import sweep

Tick = Callable[..., None]


def run_sweep(
    name: str,
    train: Callable[..., Any],
    axes: Mapping[str, Any],
    data: Split,
    *,
    vectorize: str,
    tick: Tick,
    folder: Path | None,
    config: Mapping[str, Any],
    chunk: int | None = None,
    trial: Callable[..., Any] | None = None,
    mesh: jax.sharding.Mesh | None = None,
) -> tuple[Any, str]:
    """Sweep, keep what is done in ``folder / name``, and tick once for every run.

    Args:
      name: of this sweep in the experiment.
      train, axes, vectorize, chunk, trial, mesh: as in ``jaxdrop.training.sweep``. With "map" and
        no chunk given, every run is kept as soon as it is done.
      data: the argument that all runs share.
      tick: called as ``tick(runs)``.
      folder: the experiment's folder for work in progress; None keeps nothing.
      config: what else the results depend on.

    Returns:
      The results, and the way in which they were computed.

    Raises:
      CannotRun: if what the folder holds is damaged or of another sweep, or it cannot be written.
    """
    done, way_taken = 0, vectorize

    def on_chunk(runs: int, way: str) -> None:
        nonlocal done, way_taken
        tick(runs - done)
        done, way_taken = runs, way

    way: Any = vectorize  # a str that check() has seen to
    try:
        results = sweep(
            train,
            axes,
            shared={"data": data},
            vectorize=way,
            trial=trial,
            chunk=1 if chunk is None and vectorize == "map" else chunk,
            mesh=mesh,
            folder=None if folder is None else folder / name,
            config=config,
            on_chunk=on_chunk,
        )
    except (ValueError, OSError) as error:
        if folder is not None and str(folder) in str(error):
            raise CannotRun(str(error)) from error
        raise
    return results, way_taken


def runs_done(folder: Path, total: int) -> str | None:
    """Say how many runs the folder of an unfinished experiment holds; None if there are none."""
    done = 0
    for plan in folder.glob("*/sweep.json"):
        try:
            width = json.loads(plan.read_text(encoding="utf-8"))["width"]
        except (OSError, ValueError, KeyError):
            continue  # sweep will say what is wrong with it
        done += width * len(list(plan.parent.glob("chunk-*.msgpack")))
    return f"run {min(done, total)} of {total}" if done else None
