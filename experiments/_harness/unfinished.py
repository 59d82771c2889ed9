"""The part of an experiment that is kept until it is finished, so that the next call resumes it.

An experiment can be resumed if its ``run`` takes a folder:

    def run(config, tick, folder) -> {"numbers": ..., "digests": ...}:
        '''Resume from what is in folder, which exists; ``tick(n)`` reports n steps found there.'''

    def resume_point(config, folder) -> str | None:
        '''Say how far the run in this folder got, as in "chunk 3 of 8"; None if nowhere yet.'''

The folder is ``OUT/unfinished/work``. ``run`` may put any files there, each whole or not at all
(``kept.keep``). Beside it ``OUT/unfinished/run.json`` says which run it belongs to: a call with
another config is refused and changes nothing. Once result.json and figure.png are written, the
folder is deleted. All of this is done by a process that holds a lock on OUT, see ``command``.
"""

import contextlib
import dataclasses
import shutil
import sys
from pathlib import Path
from typing import Any

from experiments._harness.environment import environment
from experiments._harness.result import CannotRun
from jaxdrop.training import CheckpointError
from jaxdrop.training._identity_file import as_json, claim
from jaxdrop.training._typed_json import Unreadable, as_type

HOW = (
    "To resume it, use its settings; to keep it, choose another --out; to give it up, "
    "delete {place}"
)


@dataclasses.dataclass(frozen=True)
class Unfinished:
    """An experiment's folder for work in progress."""

    place: Path
    environment: dict[str, Any]
    """That of the call that began it."""
    new: bool
    """Whether that was this call."""

    @property
    def work(self) -> Path:
        return self.place / "work"

    def began_elsewhere(self) -> dict[str, Any]:
        """Return what was different when the run began: versions, device, commit."""
        now = environment()
        return {k: v for k, v in self.environment.items() if now.get(k) != v}

    def remove(self) -> None:
        """Remove the folder."""
        remove_whole(self.place)


@dataclasses.dataclass(frozen=True)
class RunFile:
    """What run.json says."""

    experiment: str
    config: dict[str, Any]
    environment: dict[str, Any]


def open_unfinished(out: Path, name: str, config: Any) -> Unfinished:
    """Find the run that was begun in out with this very config, or begin one.

    Raises:
      CannotRun: if what is there belongs to another config, or cannot be read.
    """
    place = out / "unfinished"
    path = place / "run.json"
    now = environment()
    # As JSON has it: tuples become lists.
    mine = as_json({"experiment": name, "config": dataclasses.asdict(config), "environment": now})
    shutil.rmtree(_away(place), ignore_errors=True)
    try:
        place.mkdir(exist_ok=True)
        stored = claim(path, mine)
        if stored is not None:
            _compare(as_type(stored, RunFile, str(path)), mine, type(config), path)
        (place / "work").mkdir(exist_ok=True)
    except OSError as error:
        raise CannotRun(f"{path} cannot be written ({error.strerror or error})") from error
    except Unreadable as error:
        raise CannotRun(
            f"{error}; or it was written by another version; choose another --out, or delete "
            f"{place} to begin again"
        ) from error
    except CheckpointError as error:
        raise CannotRun(f"{error}: another --out, or delete {place}") from error
    return Unfinished(place, (stored or mine)["environment"], new=stored is None)


def remove_whole(place: Path) -> None:
    """Remove a folder; after a kill the next call finds all of it, or nothing."""
    away = _away(place)
    with contextlib.suppress(OSError):  # it was deleted before: that is what is wanted
        place.rename(away)
    shutil.rmtree(away, ignore_errors=True)


def _compare(stored: RunFile, mine: dict[str, Any], kind: Any, path: Path) -> None:
    """Raise CannotRun if a run is of another experiment or config."""
    if stored.experiment != mine["experiment"]:
        raise CannotRun(
            f"{path.parent} holds an unfinished run of {stored.experiment}; choose another --out"
        )
    as_type(stored.config, kind, str(path), "config")
    there, here = stored.config, mine["config"]
    odd = sorted(k for k in there | here if there.get(k) != here.get(k))
    if odd:
        differences = ", ".join(
            f"--{k.replace('_', '-')} {there.get(k)} there and {here.get(k)} here" for k in odd
        )
        raise CannotRun(
            f"{path.parent} holds an unfinished run with other settings: {differences}. "
            + HOW.format(place=path.parent)
        )


def _away(place: Path) -> Path:
    return place.with_name(f".{place.name}.partial")


def say_where(name: str, unfinished: Unfinished, point: str | None) -> None:
    """Say on standard error that a run resumes, from where, and what has changed since."""
    if point is None:
        return
    print(f"Resuming {name} from {point} ({unfinished.work}).", file=sys.stderr)
    for part, value in unfinished.began_elsewhere().items():
        print(
            f"Note: it began with {part} {value}, and this is {environment().get(part)}.",
            file=sys.stderr,
        )
