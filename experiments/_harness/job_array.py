"""A job array: jobs on several machines share an experiment, and one more call joins what they did.

``scripts/run NAME --part i/n`` is job i of n. All of them work in ``OUT/parts``, where each writes
files of its own, so that none waits for another: ``run(config, tick, OUT/parts, (i, n))`` is to do
that. The call without ``--part`` then works in that folder too, with what it finds there, and
deletes it once result.json and figure.png are written.
"""

import dataclasses
import re
from pathlib import Path

from experiments._harness.result import CannotRun


@dataclasses.dataclass(frozen=True)
class JobArray:
    """For several machines, each of which does a part of the work; all of them see --out."""

    part: str | None = None
    """i/n: job i of n. Afterwards the same command without it joins the parts."""


def read_part(text: str) -> tuple[int, int]:
    """Return (i, n) of a text such as "2/3".

    Raises:
      CannotRun: if it is something else.
    """
    found = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
    i, n = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= i <= n:
        raise CannotRun(f"--part is {text!r:.100}, expected i/n for job i of n, such as 1/3 or 3/3")
    return i, n


def parts_folder(out: Path) -> Path:
    """Return the folder in which jobs work, whether there are any or not."""
    return out / "parts"


def refuse_other_run(out: Path) -> None:
    """Raise CannotRun if a run without parts has begun in out."""
    if (out / "unfinished").exists():
        raise CannotRun(
            f"{out}/unfinished holds a run without parts; let it end, or choose another --out"
        )
