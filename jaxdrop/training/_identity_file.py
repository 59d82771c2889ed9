"""Whose folder it is: a JSON file says what its content depends on; later calls compare it."""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from jaxdrop.training._atomic_file import write_atomically
from jaxdrop.training._checkpoint_error import CheckpointError
from jaxdrop.training._typed_json import read_json


def as_json(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return facts as a file gives them back: tuples are lists.

    Raises:
      ValueError: for NaN and infinity, which JSON does not have.
    """
    plain: dict[str, Any] = json.loads(json.dumps(facts, allow_nan=False))
    return plain


def claim(
    path: Path, facts: Mapping[str, Any], *, write: bool = True, beside: Collection[str] = ()
) -> dict[str, Any] | None:
    """Return what a folder's identity file says, or write these facts to it if the folder is new.

    Args:
      path: of the file, such as ``run.json``; its folder exists, and is held.
      facts: what the folder's content depends on, as ``as_json`` returns them.
      write: False in all processes but one.
      beside: names that may be in a new folder.

    Returns:
      The facts that the folder was started with, for the caller to compare; None if it is new.

    Raises:
      Unreadable: if the file is damaged.
      CheckpointError: if there is none, and the folder holds other files. Those with a dot in front
        do not count: a kill leaves some, and the lock is one.
      OSError: if it cannot be written.
    """
    if path.exists():
        return read_json(path, dict[str, Any])
    if write:
        refuse_strange(path, beside)
        write_atomically(path, json.dumps(facts, indent=1, allow_nan=False).encode() + b"\n")
    return None


def refuse_strange(path: Path, beside: Collection[str]) -> None:
    """Raise CheckpointError if a folder without this identity file holds others' files."""
    names = {p.name for p in path.parent.iterdir() if not p.name.startswith(".")}
    strange = sorted(names - set(beside))
    if strange:
        raise CheckpointError(
            f"the folder {path.parent} holds {', '.join(strange[:3])} but no {path.name}, so it "
            "is not known whose it is; nothing was changed. Choose an empty folder"
        )


def differences(there: Any, here: Any) -> str:
    """Name the leaves of two nested dicts that are not equal, three at most; "" if all are.

    >>> differences({"seed": 0, "config": {"rate": 0.5}}, {"seed": 1, "config": {}})
    'config.rate: 0.5 there, absent here; seed: 0 there, 1 here'
    """
    was, now = _leaves(there), _leaves(here)
    odd = [k for k in sorted(was | now) if was.get(k, "absent") != now.get(k, "absent")]
    shown = [f"{k}: {was.get(k, 'absent')} there, {now.get(k, 'absent')} here" for k in odd[:3]]
    return "; ".join(shown + ["..."] * (len(odd) > 3))


def _leaves(tree: Any, path: str = "") -> dict[str, Any]:
    if not isinstance(tree, dict):
        return {path: tree}
    return {
        name: leaf
        for key, branch in tree.items()
        for name, leaf in _leaves(branch, f"{path}.{key}" if path else str(key)).items()
    }
