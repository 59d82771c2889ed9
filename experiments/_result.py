"""result.json: what a run was, where it ran, what came out; written whole or not at all."""

import dataclasses
import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import jax
import numpy as np

import jaxdrop

PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy")
PARTS = ("experiment", "config", "environment", "numbers", "digests")


class CannotRun(Exception):
    """A reason not to go on that is the user's to mend; its text is all that is shown."""


def prepare_folder(folder: Path) -> Path:
    """Make the folder and prove that it can be written to, before any work is done.

    Raises:
      CannotRun: if it cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise CannotRun(
            f"the output folder {folder} cannot be written to ({error.strerror}); nothing was "
            "run. Choose another one with --out"
        ) from error
    return folder


def write_result(path: Path, result: dict[str, Any]) -> None:
    """Write the JSON beside its place, then move it there in one step."""
    text = json.dumps(result, indent=1, allow_nan=False) + "\n"
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


class replacing:
    """``with replacing(path) as partial``: path becomes partial at the end, or stays as it was."""

    def __init__(self, path: Path):
        self.path = path
        self.partial = path.with_name(f".{os.getpid()}-{path.name}")

    def __enter__(self) -> Path:
        return self.partial

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if kind is None:
            os.replace(self.partial, self.path)
        else:
            self.partial.unlink(missing_ok=True)


def read_result(path: Path) -> dict[str, Any]:
    """Read a result.json.

    Raises:
      CannotRun: if it is missing, damaged or incomplete.
    """
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CannotRun(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise CannotRun(f"{path} is damaged, it is not JSON: {error}") from error
    missing = [part for part in PARTS if not isinstance(result, dict) or part not in result]
    if missing:
        raise CannotRun(f"{path} is incomplete, it lacks {', '.join(missing)}")
    for part in PARTS[1:]:
        if not isinstance(result[part], dict):
            raise CannotRun(f"{path} is damaged: {part!r} is not a JSON object")
    return result


def restore_config(kind: Any, stored: dict[str, Any], where: Path) -> Any:
    """Rebuild a config dataclass from its JSON form; every field has to be there."""
    fields = {field.name: field for field in dataclasses.fields(kind)}
    if set(fields) != set(stored):
        odd = sorted(set(fields) ^ set(stored))
        raise CannotRun(f"the config in {where} does not fit this version: look at {odd}")
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in stored.items()})


def params_digest(params: Any) -> str:
    """Return the sha256 of a tree of arrays: names, dtypes, shapes and bytes."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        array = np.asarray(leaf)
        digest.update(f"{jax.tree_util.keystr(path)} {array.dtype.str} {array.shape} ".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def environment() -> dict[str, Any]:
    """Name all that bits may depend on: versions, machine and device; and the commit, if any."""
    device = jax.devices()[0]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "jaxdrop": jaxdrop.__version__,
        **{name: importlib.metadata.version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "device": f"{jax.device_count()} x {device.device_kind}",
        "processor": _processor(),
        "cores": cores,
        "commit": _commit(),
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux
    return platform.processor()


def _commit() -> str | None:
    root = Path(__file__).parents[1]
    ask = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--match="]
    try:
        answer = subprocess.run(ask, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() or None if answer.returncode == 0 else None
