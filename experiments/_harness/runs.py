"""Runs of an experiment through ``jaxdrop.training.sweep``: kept one by one, and counted."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import jax

from experiments._data.images import Split
from experiments._harness.tick import Tick
from jaxdrop.training import sweep
from jaxdrop.training._typed_json import Unreadable, as_type, read_json

Vectorize = Literal["auto", "vmap", "map"]


def run_sweep(
    name: str,
    train: Callable[..., Any],
    axes: Mapping[str, Any],
    data: Split[jax.Array],
    *,
    vectorize: Vectorize,
    tick: Tick,
    folder: Path | None,
    config: Mapping[str, Any],
    chunk: int | None = None,
    trial: Callable[..., Any] | None = None,
    mesh: jax.sharding.Mesh | None = None,
    part: tuple[int, int] | None = None,
) -> tuple[Any, Vectorize]:
    """Sweep, keep what is done in ``folder / name``, and tick once for every run.

    Args:
      name: of this sweep in the experiment.
      train, axes, vectorize, chunk, trial, mesh, part: as in ``jaxdrop.training.sweep``. With "map"
        and no chunk given, every run is kept as soon as it is done.
      data: the argument that all runs share.
      tick: called as ``tick(runs)``.
      folder: the experiment's folder for work in progress; None keeps nothing.
      config: what else the results depend on.

    Returns:
      The results, and how they were computed ("map" or "vmap"). Those of a part are None.

    Raises:
      CheckpointError: if what the folder holds is damaged or of another sweep, is in use, or
        cannot be written.
    """
    done, way_taken = 0, vectorize

    def on_chunk(runs: int, way: Vectorize) -> None:
        nonlocal done, way_taken
        tick(runs - done)
        done, way_taken = runs, way

    results = sweep(
        train,
        axes,
        shared={"data": data},
        vectorize=vectorize,
        trial=trial,
        chunk=1 if chunk is None and vectorize == "map" else chunk,
        mesh=mesh,
        folder=None if folder is None else folder / name,
        config=config,
        part=part,
        on_chunk=on_chunk,
    )
    return results, way_taken


def runs_done(folder: Path, total: int) -> str | None:
    """Say how many runs the folder of an unfinished experiment holds; None if there are none."""
    done = 0
    for path in [*folder.glob("*/sweep.json"), *folder.glob("*/part-*/sweep.json")]:
        try:
            width = as_type(read_json(path, dict[str, Any]).get("width"), int, str(path), "width")
        except Unreadable:
            continue  # sweep will say what is wrong with it
        done += width * len(list(path.parent.glob("chunk-*.msgpack")))
    return f"run {min(done, total)} of {total}" if done else None
