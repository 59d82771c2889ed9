"""Checkpoints of a train state: Orbax's manager, with a sentence for each thing that fails."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np

from jaxdrop.training._checkpoint_error import CheckpointError
from jaxdrop.training._fingerprint import fingerprint, linear_fingerprint
from jaxdrop.training._folder_path import run_folder
from jaxdrop.training._identity_file import differences
from jaxdrop.training._mesh import path_name
from jaxdrop.training._state import TrainState
from jaxdrop.training._typed_keys import keys_of_words, words_of_keys

S = TypeVar("S", bound=TrainState)


def saved_step(folder: str | Path) -> int | None:
    """Return the step of the newest whole checkpoint that ``fit`` left in a folder.

    Args:
      folder: as for ``fit``; it does not have to exist.

    Returns:
      The number of the step, or None if there is no checkpoint.

    Raises:
      TypeError, ValueError: for a path that ``fit`` refuses.

    >>> import jaxdrop.training as jt
    >>> print(jt.saved_step("a-folder-that-is-new"))
    None
    """
    return max(_whole(run_folder(folder) / "checkpoints"), default=None)


class Checkpoints:
    """The checkpoints of one run: written in the background, the last few kept.

    A checkpoint is a folder named after its step. It appears, by a rename, when all of it is
    written: a process killed while writing leaves the earlier ones as they were.

    Args:
      folder: of the run; ``run_folder`` says which can be used.
      keep: how many checkpoints stay.
      check: raises CheckpointError if the folder is not there any more.
    """

    def __init__(self, folder: Path, keep: int, check: Callable[[], None] = lambda: None):
        import orbax.checkpoint as ocp  # slow to import, and only needed here

        self._args = ocp.args
        self.place = folder.absolute() / "checkpoints"
        options = ocp.CheckpointManagerOptions(max_to_keep=keep, cleanup_tmp_directories=True)
        handler = ocp.StandardCheckpointHandler()
        self._manager = ocp.CheckpointManager(self.place, options=options, item_handlers=handler)
        self._on_its_way: int | None = None
        self._still_there, self._place = check, self.place.stat()

    def latest(self) -> int | None:
        return self._manager.latest_step()

    def restore(self, step: int, like: S) -> tuple[S, np.ndarray | None]:
        """Return the state saved at a step, on the devices of ``like``, and the log's record.

        The record is what ``Log.record`` returned. Older checkpoints have none, which gives None;
        they hold the linear fingerprint.

        Raises:
          CheckpointError: if it is damaged, or of another model or optimizer.
        """
        # Words: Orbax knows the key implementations that have a name in jax.
        plain: Any = words_of_keys(like)
        try:
            stored = self._manager.item_metadata(step)
            found = _shapes(stored["state"])
            recorded = "lines" in stored
        except Exception as error:  # damaged metadata: Orbax and its parsers raise many kinds
            raise self._damaged(step, error) from error
        expected = _shapes(plain)
        odd = differences(found, expected)
        if odd:
            raise CheckpointError(
                f"the checkpoint of step {step} in {self.place} is of another model or optimizer "
                f"({odd}). Nothing was changed; choose another folder, or use the model and "
                "optimizer it was made with"
            )
        target: dict[str, Any] = {"state": jax.tree.map(_abstract, plain)}
        shapes = {"lines": (2,), "fingerprint": (len(expected) + 1, 2)}
        for name, shape in (shapes if recorded else {"fingerprint": (len(expected),)}).items():
            target[name] = jax.ShapeDtypeStruct(shape, np.uint32, sharding=plain.step.sharding)
        try:
            read = self._manager.restore(step, args=self._args.StandardRestore(target))
        except Exception as error:  # damaged arrays: tensorstore raises many kinds
            raise self._damaged(step, error) from error
        fingerprinted = np.asarray(read.pop("fingerprint"))
        computed = fingerprint(read) if recorded else linear_fingerprint(read)
        if not np.array_equal(computed, fingerprinted):
            raise self._damaged(step, "its numbers are not those that were saved")
        record = np.asarray(read["lines"]) if recorded else None
        return keys_of_words(like, read["state"]), record

    def save(self, step: int, state: TrainState, record: np.ndarray) -> None:
        """Begin to save; wait only for a save that is still on its way.

        Args:
          step: the checkpoint's name.
          state: what is saved.
          record: of the log, as ``Log.record`` is.

        Raises:
          CheckpointError: if this save, or the one before, failed.
        """
        self.wait()
        plain: Any = words_of_keys(state)
        tree = {"state": plain, "lines": _beside(record, plain.step)}
        tree["fingerprint"] = fingerprint(tree)
        self._on_its_way = step
        try:
            self._manager.save(step, args=self._args.StandardSave(tree), force=True)
        except Exception as error:  # the disk's reasons, as tensorstore wraps them in many kinds
            raise self._failed(error) from error

    def wait(self) -> None:
        """Return when the save that is under way is written.

        Raises:
          CheckpointError: if that failed.
        """
        try:
            self._manager.wait_until_finished()
            self._manager.check_for_errors()
        except Exception as error:  # many kinds, as in save, from a write in the background
            raise self._failed(error) from error
        self.check()

    def close(self) -> None:
        try:
            self._manager.close()
        except Exception:  # of a save: wait has told of it, or another error ends the run
            pass

    def check(self) -> None:
        """Raise CheckpointError if the folder or its checkpoints were deleted during the run."""
        self._still_there()
        # Orbax may have made a new one.
        if not (self.place.is_dir() and os.path.samestat(self.place.stat(), self._place)):
            raise CheckpointError(
                f"{self.place} was deleted or moved during the run, and with it what was saved; "
                "the same call starts again"
            )

    def _failed(self, error: Exception) -> CheckpointError:
        self.check()
        last = max(_whole(self.place), default=None)
        safe = "nothing was saved before" if last is None else f"step {last} is whole"
        return CheckpointError(
            f"the checkpoint of step {self._on_its_way} could not be written to {self.place} "
            f"({_reason(error)}); {safe}. Make room, and the same call resumes from there"
        )

    def _damaged(self, step: int, error: Any) -> CheckpointError:
        before = max((s for s in _whole(self.place) if s < step), default=None)
        way = "start again" if before is None else f"resume from step {before}, the one before it"
        return CheckpointError(
            f"the checkpoint of step {step} in {self.place} is damaged ({_reason(error)}). Nothing "
            f"was changed; to {way}, delete {self.place / str(step)}"
        )


def _whole(place: Path) -> list[int]:
    """Return the steps of the whole checkpoints on the disk."""
    from orbax.checkpoint.utils import checkpoint_steps

    return checkpoint_steps(place) if place.is_dir() else []


def _abstract(leaf: jax.Array) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding)


def _beside(numbers: np.ndarray, leaf: jax.Array) -> jax.Array:
    """Return numbers that all processes have where another array is."""
    return jax.make_array_from_callback(numbers.shape, leaf.sharding, lambda i: numbers[i])


def _shapes(tree: Any) -> dict[str, str]:
    return {
        path_name(path): f"{np.dtype(leaf.dtype).name}{list(leaf.shape)}"
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def _reason(error: Any) -> str:
    """Return an error's words: the system's, where TensorStore wraps them, or the first line."""
    system = re.search(r"([^:\n]+?) \[os_error", str(error))
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return system[1].strip() if system else lines[0][:200]
