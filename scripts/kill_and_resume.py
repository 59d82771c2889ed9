"""Kill fit, sweep and an experiment by SIGKILL, resume them, compare them with undisturbed runs.

Four kills in ten wait until a file is being written and come before it is likely to be whole; four
come at a random moment after something was saved; two while the program starts, compiles and reads
what was saved. Of the experiment's kills, one in seven waits until its figure is being written. A
run that ends is compared, and another one is started. Claimed, and checked:

- after each kill all that had been saved is there, and the next call resumes from it;
- at the end every array and every file of results has the bytes of the undisturbed run.

Exit code 0 if all of that holds, else 1. Reports: report.json, report.md and figure.png in OUT.
"""

import dataclasses
import json
import random
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from scripts.kill_report import draw, markdown, table
from scripts.kill_subjects import SUBJECTS, Subject

ROOT = Path(__file__).parents[1]
PATIENCE = 300.0  # seconds for a call to reach the point where it is killed
WAYS = ("write", "between", "write", "between", "start")
SHARES = {"fit": 20, "sweep": 15, "experiment": 15}  # of fifty kills


@dataclasses.dataclass(frozen=True)
class Config:
    """Kill fit, sweep and an experiment, resume them, compare them with undisturbed runs."""

    kills: int = 50
    """How often a run is killed."""
    seed: int = 0
    """Of the moments of the kills."""
    out: Path = ROOT / "results" / "kill_and_resume"
    """Folder for report.json, report.md and figure.png."""


@dataclasses.dataclass(frozen=True)
class Alone:
    """A run that nobody killed."""

    outcome: dict[str, str]
    """Digest of each array and file."""
    to_first: float
    """Seconds until something was saved."""
    between: float
    """Seconds from one save to the next."""
    writing: float
    """Seconds for which a file is seen half written."""


def run_alone(subject: Subject, folder: Path) -> Alone:
    """Let a run end, and see when it saves."""
    process, times, seen, writing = subject.start(folder), [], subject.saves(folder), 0.0
    begin = last = time.monotonic()
    while process.poll() is None:
        time.sleep(0.0003)
        now, found = time.monotonic(), subject.saves(folder)
        writing += (now - last) * bool(subject.partial(folder))
        if found != seen:
            times.append(now - begin)
        last, seen = now, found
    said = process.communicate()[1]
    if process.returncode:
        raise RuntimeError(f"{subject.name} ended with {process.returncode}:\n{said}")
    between = (times[-1] - times[0]) / max(1, len(times) - 1)
    return Alone(subject.outcome(folder), times[0], between, writing / len(times))


def kill_once(
    subject: Subject, folder: Path, way: str, alone: Alone, rng: random.Random
) -> dict[str, Any] | None:
    """Start a run and kill it; return what was seen, or None if it ended before."""
    before, old = subject.saved(folder), subject.partial(folder)
    wanted = rng.randint(0, 3)
    most = {"between": alone.between, "start": alone.to_first}.get(way, alone.writing / 2)
    process = subject.start(folder)
    give_up, last, seen = time.monotonic() + PATIENCE, subject.saves(folder), 0
    try:
        while process.poll() is None and time.monotonic() < give_up and way != "start":
            now = subject.saves(folder)
            seen, last = seen + (now != last), now
            if way == "between" and seen > wanted:
                break
            half = {name for name, *_ in subject.partial(folder) - old}
            if way == "write" and seen >= wanted and half or way == "end" and subject.last in half:
                break
            time.sleep(0.0003)
        time.sleep(most * rng.random())
    finally:
        process.kill()
    said = process.communicate()[1]
    if process.returncode == 0:
        return None
    if process.returncode != -9:
        raise RuntimeError(f"{subject.name} ended with {process.returncode}:\n{said}")
    done = subject.finished(folder)
    after = before if done else subject.saved(folder)
    resumed = re.search(r"[Rr]esuming .*?from (?:step|part|run) (\d+)", said)
    inside = bool(subject.partial(folder) - old)
    started = seen or done or after > before
    where = "inside a write" if inside else "between writes" if started else "during start"
    return {
        "subject": subject.name,
        "where": where,
        "saved_before": before,
        "resumed_from": int(resumed[1]) if resumed else None,
        "saved_after": after,
        "lost": after < before or (resumed is not None and int(resumed[1]) != before),
    }


def kill_often(
    subject: Subject,
    kills: int,
    rng: random.Random,
    folder: Path,
    on_kill: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Kill runs of one subject that often in the folder; return the report."""
    alone = run_alone(subject, folder / "alone")
    rows: list[dict[str, Any]] = []
    odd: dict[str, int] = {}
    place, rounds = folder / "0", 0
    while len(rows) < kills or place.exists():
        way = WAYS[len(rows) % len(WAYS)]
        if subject.last and len(rows) % 7 == 6:
            way = "end"
        row = kill_once(subject, place, way, alone, rng) if len(rows) < kills else None
        if row is not None:
            rows.append(row | {"round": rounds})
            on_kill()
        if row is None or subject.finished(place):
            outcome = finish(subject, place)
            for name in alone.outcome | outcome:
                odd[name] = odd.get(name, 0) + (alone.outcome.get(name) != outcome.get(name))
            shutil.rmtree(place)
            rounds += 1
            place = folder / str(rounds)
    return {
        "title": subject.title,
        "saves": subject.unit,
        "rounds": rounds,
        "kills": rows,
        "compared": len(odd),
        "differ": sorted(name for name, count in odd.items() if count),
    }


def finish(subject: Subject, folder: Path) -> dict[str, str]:
    """Let a run end, if it has not; return its digests."""
    if not subject.finished(folder):
        process = subject.start(folder)
        said = process.communicate()[1]
        if process.returncode:
            raise RuntimeError(f"{subject.name} ended with {process.returncode}:\n{said}")
    return subject.outcome(folder)


def holds(report: dict[str, Any]) -> bool:
    """Say whether no saved work was lost and every result is that of an undisturbed run."""
    return all(
        not part["differ"] and part["compared"] and not any(row["lost"] for row in part["kills"])
        for part in report["subjects"].values()
    )


def shares(kills: int) -> dict[str, int]:
    """Say how many of the kills each subject gets."""
    given = {name: kills * share // sum(SHARES.values()) for name, share in SHARES.items()}
    return given | {"fit": kills - given["sweep"] - given["experiment"]}


def main(argv: list[str]) -> int:
    import tyro  # not needed by scripts/prove device, which kills runs too

    config = tyro.cli(Config, args=argv, prog="scripts/kill_and_resume", description=__doc__)
    from experiments._harness.ending import politely
    from experiments._harness.environment import environment
    from experiments._harness.result import prepare_folder, whole_file, write_result
    from jaxdrop.training._progress_bar import progress_bar

    def command() -> int:
        out, rng, begin = prepare_folder(config.out), random.Random(config.seed), time.monotonic()
        parts: dict[str, Any] = {}
        with tempfile.TemporaryDirectory() as folder, progress_bar("kills", config.kills) as tick:
            for name, kills in shares(config.kills).items():
                parts[name] = kill_often(SUBJECTS[name], kills, rng, Path(folder) / name, tick)
        report = {
            "seed": config.seed,
            "seconds": round(time.monotonic() - begin),
            "environment": environment(),
            "subjects": parts,
        }
        report["holds"] = holds(report)
        write_result(out / "report.json", report)
        report = json.loads((out / "report.json").read_text(encoding="utf-8"))
        with whole_file(out / "report.md") as partial:
            partial.write_text(markdown(report), encoding="utf-8")
        with whole_file(out / "figure.png") as partial:
            draw(report, partial)
        Console().print(table(report))
        print(f"Stored: {out}/report.json, report.md, figure.png")
        return 0 if report["holds"] else 1

    return politely(command)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
