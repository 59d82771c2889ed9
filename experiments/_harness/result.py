"""result.json: what a run was, where it ran, what came out; written whole or not at all."""

import dataclasses
import hashlib
import json
import math
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxdrop.training._atomic_file import replacing
from jaxdrop.training._checkpoint_error import not_writable
from jaxdrop.training._folder_path import run_folder
from jaxdrop.training._typed_json import Unreadable, as_type, read_json


@dataclasses.dataclass(frozen=True)
class Result:
    """What every result.json has; some have more."""

    experiment: str
    config: dict[str, Any]
    environment: dict[str, Any]
    numbers: dict[str, Any]
    digests: dict[str, Any]


class CannotRun(Exception):
    """A reason to stop that the user can put right; its text is all that is shown."""


def prepare_folder(folder: Path, option: str = "--out") -> Path:
    """Make the folder that an option names, and prove that it can be written to, before any work.

    Raises:
      CannotRun: if it cannot.
    """
    try:
        run_folder(folder, option)
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise CannotRun(f"{not_writable(folder, error)} with {option}") from error
    except ValueError as error:
        raise CannotRun(f"{error}; nothing was run") from error
    return folder


def write_result(path: Path, result: dict[str, Any]) -> None:
    """Write the JSON beside its place, then move it there in one step.

    The folder is made again if it was deleted meanwhile. JSON has no NaN and no infinity: each is
    null, as in metrics.jsonl.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(_finite(result), indent=1, allow_nan=False) + "\n"
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """``with whole_file(path) as partial``: path becomes partial at the end, or stays as it was.

    Raises:
      CannotRun: if the file cannot be written.
    """
    try:
        with replacing(path) as partial:
            yield partial
    except OSError as error:
        raise CannotRun(
            f"{path} cannot be written ({error.strerror or error}); what was there before is as it "
            "was"
        ) from error


def read_result(path: Path) -> dict[str, Any]:
    """Read a result.json.

    Raises:
      Unreadable: if it is missing, damaged or incomplete.
    """
    result = read_json(path, dict[str, Any])
    names = {field.name for field in dataclasses.fields(Result)}
    as_type({name: result[name] for name in names & set(result)}, Result, str(path))
    return result


def restore_config(kind: Any, stored: dict[str, Any], where: Path) -> Any:
    """Rebuild a config dataclass from its JSON form; every field must be there, of the right type.

    Raises:
      CannotRun: if one is not.
    """
    try:
        return as_type(stored, kind, str(where), "config")
    except Unreadable as error:
        raise CannotRun(f"{error}; or it was written by another version") from error


def _finite(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _finite(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_finite(value) for value in tree]
    return None if isinstance(tree, float) and not math.isfinite(tree) else tree


def params_digest(params: Any) -> str:
    """Return the sha256 of a tree of arrays: names, dtypes, shapes and bytes."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        array = np.asarray(leaf)
        digest.update(f"{jax.tree_util.keystr(path)} {array.dtype.str} {array.shape} ".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
