"""SweepParts: a sweep that several jobs share, each of which writes to a folder of its own."""

import re
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from jaxdrop._core.checks import check_integer, check_sequence
from jaxdrop.training._folder_lock import held
from jaxdrop.training._identity_file import refuse_strange
from jaxdrop.training._sweep_folder import PLAN, SweepFolder
from jaxdrop.training._sweep_vectorize import Way

_PART = re.compile(r"part-\d+-of-\d+")


class SweepParts:
    """The folder of a sweep and, in it, ``part-2-of-3`` and its like, one for each job.

    Chunks are read from all of them, and written to one: a job's own, or without a part that of the
    sweep. A job locks its own folder; a call without a part locks all, so it is refused while a job
    runs. Jobs need no common lock: no file is written by two of them, and each appears whole.

    Args:
      folder: of the sweep; made if it is missing.
      part: (i, n) for the job i of n, or None.
      stack: ends the locks.
    """

    def __init__(self, folder: Path, part: tuple[int, int] | None, stack: ExitStack):
        def hold(place: Path) -> SweepFolder:
            return SweepFolder(place, stack.enter_context(held(place, "sweep", together=False)))

        if part is None:
            self._own = hold(folder)
            self._others = [hold(folder / name) for name in _parts_in(folder)]
            return
        if folder.exists() and not (folder / PLAN).exists():
            refuse_strange(folder / PLAN, _parts_in(folder))
        self._own = hold(folder / f"part-{part[0]}-of-{part[1]}")
        places = (folder, *(folder / name for name in _parts_in(folder)))
        self._others = [SweepFolder(p, lambda: None) for p in places if p != self._own.folder]

    def stored_way(self) -> Way | None:
        """Return the vectorize that the sweep was started with, or None if it was not."""
        ways = (kept.stored_way() for kept in (self._own, *self._others))
        return next((way for way in ways if way is not None), None)

    def begin(self, plan: Mapping[str, Any]) -> None:
        """Write the plan, and make sure that all others are the same.

        Raises:
          CheckpointError: as ``SweepFolder.begin``.
        """
        # One without a plan was made a moment ago, or its job was killed then: no chunk is in it.
        self._others = [kept for kept in self._others if (kept.folder / PLAN).exists()]
        for kept in self._others:
            kept.compare(plan)
        self._own.begin(plan, beside=_parts_in(self._own.folder))

    def load(self, number: int, like: Any) -> Any | None:
        """Return a chunk from whichever folder has it, or None; see ``SweepFolder.load``."""
        found = (kept.load(number, like) for kept in (self._own, *self._others))
        return next((results for results in found if results is not None), None)

    def save(self, number: int, results: Any) -> None:
        """Write a chunk; see ``SweepFolder.save``."""
        self._own.save(number, results)


def _parts_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if _PART.fullmatch(path.name))


def check_part(part: Any) -> tuple[int, int] | None:
    """Return (i, n) with 1 <= i <= n, or None; or raise an error."""
    if part is None:
        return None
    expected = "(i, n) for job i of n, 1 <= i <= n, such as (2, 3)"
    numbers = [check_integer(n, "part", expected) for n in check_sequence(part, "part", expected)]
    if len(numbers) != 2 or not 1 <= numbers[0] <= numbers[1]:
        raise ValueError(f"got {part=}, expected {expected}")
    return numbers[0], numbers[1]
