"""The part of an experiment that is kept while it is not finished, so that the next call goes on.

An experiment can be resumed if its module has ``resume_point`` and its ``run`` takes a folder:

    def resume_point(config, folder) -> str | None:
        '''Say how far the run in this folder came, as in "chunk 3 of 8"; None if nowhere yet.'''

    def run(config, tick, folder) -> {"numbers": ..., "digests": ...}:
        '''Go on from what is in folder, which exists; ``tick(n)`` reports n steps found there.'''

The folder is ``OUT/unfinished/work``. ``run`` may put there what it likes, each file whole or not
at all (``kept.keep``). Beside it ``OUT/unfinished/run.json`` says whose it is: a call with another
config is refused and changes nothing. Once result.json and figure.png are written, the folder is
deleted. All of this is done by a process that holds a lock on OUT, see ``command``.
"""

import contextlib
import dataclasses
import json
import shutil
import sys
from pathlib import Path
from typing import Any

from experiments._harness.result import CannotRun, environment, replacing, restore_config
from jaxdrop.training._typed_json import Unreadable, read_json

HOW = (
    "To go on with it, use its settings; to leave it, choose another --out; to give it up, "
    "delete {place}"
)


@dataclasses.dataclass(frozen=True)
class Unfinished:
    """An experiment's folder for work in progress."""

    place: Path
    environment: dict[str, Any]
    """Of the call that began it."""
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
        """Remove the folder; a kill leaves all of it, or nothing that the next call finds."""
        away = _away(self.place)
        with contextlib.suppress(OSError):  # it was deleted before: that is what is wanted
            self.place.rename(away)
        shutil.rmtree(away, ignore_errors=True)


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
    # As JSON has it: tuples become lists.
    mine = json.loads(json.dumps({"experiment": name, "config": dataclasses.asdict(config)}))
    path = place / "run.json"
    shutil.rmtree(_away(place), ignore_errors=True)
    if path.exists():
        stored = _read(path, name, type(config))
        if stored.experiment != name:
            raise CannotRun(
                f"{place} holds an unfinished run of {stored.experiment}; choose another --out"
            )
        then, now = stored.config, mine["config"]
        odd = sorted(k for k in then | now if then.get(k) != now.get(k))
        if odd:
            differences = ", ".join(
                f"--{k.replace('_', '-')} {then.get(k)} there and {now.get(k)} here" for k in odd
            )
            raise CannotRun(
                f"{place} holds an unfinished run with other settings: {differences}. "
                + HOW.format(place=place)
            )
        found = Unfinished(place, stored.environment, new=False)
        found.work.mkdir(exist_ok=True)
        return found
    # A kill while run.json was being written leaves a hidden part of it.
    if place.exists() and not all(file.name.startswith(".") for file in place.iterdir()):
        raise CannotRun(
            f"{place} has no run.json and is not empty, so it is not known whose it is; choose "
            "another --out, or delete it"
        )
    new = Unfinished(place, environment(), new=True)
    place.mkdir(exist_ok=True)
    with replacing(path) as partial:
        text = json.dumps({**mine, "environment": new.environment}, indent=1)
        partial.write_text(text + "\n", encoding="utf-8")
    new.work.mkdir(exist_ok=True)
    return new


def _away(place: Path) -> Path:
    return place.with_name(f".{place.name}.partial")


def say_where(name: str, unfinished: Unfinished, point: str | None) -> None:
    """Tell on standard error that a run goes on, from where, and what has changed since."""
    if point is None:
        return
    print(f"Resuming {name} from {point} ({unfinished.work}).", file=sys.stderr)
    for part, value in unfinished.began_elsewhere().items():
        print(
            f"Note: it began with {part} {value}, and this is {environment().get(part)}.",
            file=sys.stderr,
        )


def _read(path: Path, name: str, kind: Any) -> RunFile:
    """Read run.json; the config in it too, if it is one of this experiment."""
    try:
        stored = read_json(path, RunFile)
        if stored.experiment == name:
            restore_config(kind, stored.config, path)
    except (Unreadable, CannotRun) as error:
        raise CannotRun(
            f"{error}; choose another --out, or delete {path.parent} to begin again"
        ) from error
    return stored
