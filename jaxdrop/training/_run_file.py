"""run.json: what a folder's run depends on, so that no other run goes on from its checkpoints."""

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxdrop.training._checkpoints import CheckpointError
from jaxdrop.training._serialization import is_key

FORMAT = 1


def open_run(folder: Path, facts: Mapping[str, Any], *, write: bool = True) -> None:
    """Begin a run in a folder, or make sure that the one in it is this one.

    Args:
      folder: where the run keeps its files; made if it is missing.
      facts: what the numbers depend on, as JSON has it.
      write: False in all processes but one.

    Raises:
      CheckpointError: if the folder cannot be written to, is damaged, or is another run's. Nothing
        in it was changed.
    """
    mine: dict[str, Any] = json.loads(json.dumps({"format": FORMAT, **facts}))
    path = folder / "run.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        stored = path.read_text(encoding="utf-8") if path.exists() else None
    except OSError as error:
        raise CheckpointError(
            f"the folder {folder} cannot be written to ({error.strerror}); nothing was run. Choose "
            "another one"
        ) from error
    if stored is not None:
        _compare(path, stored, mine)
        return
    strange = sorted(p.name for p in folder.iterdir() if not p.name.startswith(".run.json"))
    if not write:
        return
    if strange:
        raise CheckpointError(
            f"the folder {folder} holds {', '.join(strange[:3])} but no run.json, so it is not "
            "known whose it is; nothing was changed. Choose an empty folder"
        )
    partial = path.with_name(f".run.json-{os.getpid()}")
    partial.write_text(json.dumps(mine, indent=1) + "\n", encoding="utf-8")
    os.replace(partial, path)


def describe_key(key: jax.Array) -> str:
    """Return a key's implementation and words as text."""
    if is_key(key):
        return f"{jax.random.key_impl(key)} {np.asarray(jax.random.key_data(key)).tolist()}"
    return f"legacy {np.asarray(key).tolist()}"


def _compare(path: Path, stored: str, facts: dict[str, Any]) -> None:
    try:
        then = json.loads(stored)
        if not isinstance(then, dict):
            raise ValueError("it is no JSON object")
    except ValueError as error:
        raise CheckpointError(
            f"{path} is damaged ({error}); nothing was changed. Choose another folder, or delete "
            f"{path.parent} to begin again"
        ) from error
    was, now = _leaves(then), _leaves(facts)
    odd = [k for k in sorted(was | now) if was.get(k, "absent") != now.get(k, "absent")]
    if odd:
        differences = "; ".join(
            f"{k}: {was.get(k, 'absent')} there, {now.get(k, 'absent')} here" for k in odd[:3]
        )
        raise CheckpointError(
            f"the run in {path.parent} is another one ({differences}"
            f"{'; ...' if len(odd) > 3 else ''}); nothing was changed. Go on with what it was "
            "begun with, or choose another folder"
        )


def _leaves(tree: Any, path: str = "") -> dict[str, Any]:
    if not isinstance(tree, dict):
        return {path: tree}
    return {
        name: leaf
        for key, branch in tree.items()
        for name, leaf in _leaves(branch, f"{path}.{key}" if path else str(key)).items()
    }
