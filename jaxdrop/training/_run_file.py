"""run.json: what a folder's run depends on, so that no other run goes on from its checkpoints."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxdrop.training._atomic_file import write_whole
from jaxdrop.training._checkpoints import CheckpointError
from jaxdrop.training._differences import differences
from jaxdrop.training._folder_lock import NAME, refused_by_any
from jaxdrop.training._serialization import is_key
from jaxdrop.training._typed_json import Unreadable, read_json

FORMAT = 1


def open_run(folder: Path, facts: Mapping[str, Any], *, write: bool = True) -> None:
    """Begin a run in a folder, or make sure that the one in it is this one.

    Args:
      folder: where the run keeps its files; it exists, and is held.
      facts: what the numbers depend on, as JSON has it.
      write: False in all processes but one.

    Raises:
      CheckpointError: in all processes, if the folder cannot be written to, is damaged, or is
        another run's. Nothing in it was changed.
    """
    refused = None
    try:
        _open(folder, facts, write)
    except CheckpointError as error:
        refused = error
    refused = refused_by_any(refused, folder)
    if refused:
        raise refused


def _open(folder: Path, facts: Mapping[str, Any], write: bool) -> None:
    mine: dict[str, Any] = json.loads(json.dumps({"format": FORMAT, **facts}, allow_nan=False))
    path = folder / "run.json"
    if path.exists():
        _compare(path, mine)
        return
    # A kill before run.json was there leaves no more than these.
    ours = (NAME, ".run.json")
    strange = sorted(p.name for p in folder.iterdir() if not p.name.startswith(ours))
    if not write:
        return
    if strange:
        raise CheckpointError(
            f"the folder {folder} holds {', '.join(strange[:3])} but no run.json, so it is not "
            "known whose it is; nothing was changed. Choose an empty folder"
        )
    try:
        write_whole(path, json.dumps(mine, indent=1, allow_nan=False).encode() + b"\n")
    except OSError as error:
        raise CheckpointError(
            f"the folder {folder} cannot be written to ({error.strerror}); nothing was run. Choose "
            "another one"
        ) from error


def describe_key(key: jax.Array) -> str:
    """Return a key's implementation and words as text."""
    if is_key(key):
        return f"{jax.random.key_impl(key)} {np.asarray(jax.random.key_data(key)).tolist()}"
    return f"legacy {np.asarray(key).tolist()}"


def _compare(path: Path, mine: dict[str, Any]) -> None:
    try:
        stored = read_json(path, dict[str, Any])
    except Unreadable as error:
        raise CheckpointError(
            f"{error}; nothing was changed. Choose another folder, or delete {path.parent} to "
            "begin again"
        ) from error
    odd = differences(stored, mine)
    if odd:
        raise CheckpointError(
            f"the run in {path.parent} is another one ({odd}); nothing was changed. Go on with "
            "what it was begun with, or choose another folder"
        )
