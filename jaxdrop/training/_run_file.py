"""run.json: what a folder's run depends on, so that no other run resumes from its checkpoints."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxdrop.training._checkpoint_error import CheckpointError, not_writable
from jaxdrop.training._folder_lock import refused_together
from jaxdrop.training._identity_file import as_json, claim, differences
from jaxdrop.training._typed_json import Unreadable
from jaxdrop.training._typed_keys import is_key

FORMAT = 1


def open_run(folder: Path, facts: Mapping[str, Any], *, write: bool = True) -> None:
    """Start a run in a folder, or make sure that the one in it is this one.

    Args:
      folder: where the run keeps its files; it exists, and is held.
      facts: what the numbers depend on, for JSON.
      write: False in all processes but one.

    Raises:
      CheckpointError: in all processes, if the folder cannot be written to, is damaged, or is
        another run's. Nothing in it was changed.
    """
    with refused_together(folder):
        mine = as_json({"format": FORMAT, **facts})
        try:
            stored = claim(folder / "run.json", mine, write=write)
        except Unreadable as error:
            raise CheckpointError(
                f"{error}; nothing was changed. Choose another folder, or delete {folder} to start "
                "again"
            ) from error
        except OSError as error:
            raise not_writable(folder, error) from error
        odd = "" if stored is None else differences(stored, mine)
        if odd:
            raise CheckpointError(
                f"the run in {folder} is a different one ({odd}); nothing was changed. Use what "
                "it was started with, or choose another folder"
            )


def describe_key(key: jax.Array) -> str:
    """Return a key's implementation and words as text."""
    if is_key(key):
        return f"{jax.random.key_impl(key)} {np.asarray(jax.random.key_data(key)).tolist()}"
    return f"legacy {np.asarray(key).tolist()}"
