"""Run what only a GPU or TPU can show, piece by piece, in at most ten minutes.

scripts/prove device                      what is not done yet
scripts/prove device --only PIECE         one piece, also if it is done
scripts/prove device --rehearse FOLDER    all, tiny and on a CPU; stored in FOLDER
scripts/prove device --write              write the digests of the piece "bits", on a CPU

Every piece has a process of its own and a limit, so that one that hangs or crashes costs the others
nothing. What is done is stored at once in results/device; the same command goes on with the rest.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from scripts.proofs.device import page
from scripts.proofs.device.piece import PIECES, Piece
from scripts.proofs.device.store import FOLDER, Outcome, Store

ROOT = Path(__file__).parents[3]
MINUTES = 10
MODULE = (sys.executable, "-P", "-m")


def start(command: list[str], limit: float, log: Any) -> int | None:
    """Run a command and what it starts; return its exit code, or None if the limit ended it."""
    path = os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", "")))
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": path.rstrip(os.pathsep)},
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # so that all of it can be ended
    )
    try:
        return process.wait(limit)
    except subprocess.TimeoutExpired:
        return None
    finally:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()


def said(log: Any) -> list[str]:
    """Return the last lines of a log."""
    log.seek(0)
    lines = log.read().decode(errors="replace").split("\n")
    return [line.rstrip() for line in lines if line.strip()][-40:] or ["nothing was printed"]


def outcomes(
    pieces: list[Piece], about: dict[str, Any], small: bool, limit: float
) -> dict[str, Outcome]:
    """Run pieces in one process; return what is to be stored of each."""
    found: dict[str, Outcome] = {}
    for piece in pieces:
        if about["backend"] == "tpu" and not piece.tpu:
            found[piece.name] = {"state": "not run", "why": "a TPU belongs to one process"}
        elif missing := piece.missing():
            found[piece.name] = {"state": "not run", "why": f"needs {', '.join(missing)}"}
    names = [piece.name for piece in pieces if piece.name not in found]
    if not names:
        return found
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as log:
        command = [*MODULE, "scripts.proofs.device.piece", about["backend"], folder]
        code = start([*command, *["--small"] * small, *names], limit, log)
        end = said(log)
        why = f"exit code {code}: {end[-1][:200]}"
        if code is None:
            why = f"took longer than {round(limit, 2):g} s"
        for name in names:
            file = Path(folder) / f"{name}.json"
            if file.exists():
                found[name] = {"state": "done", **json.loads(file.read_text()), "where": about}
            else:
                found[name] = {"state": "failed", "why": why, "log": end, "where": about}
                why = "not reached"
    return found


def look() -> dict[str, Any]:
    """Ask a process what device there is."""
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as log:
        file = Path(folder) / "about.json"
        if start([*MODULE, "scripts.proofs.device.about", str(file)], 120, log) != 0:
            raise SystemExit(f"jax does not start: {said(log)[-1]}")
        return json.loads(file.read_text())


def run(pieces: list[Piece], store: Store, about: dict[str, Any], until: float) -> int:
    """Run pieces, each in a process of its own, until the time is up; return how many are left."""
    for number, piece in enumerate(pieces, 1):
        left = until - time.monotonic()
        if left < piece.seconds:
            names = ", ".join(piece.name for piece in pieces[number - 1 :])
            print(f"{MINUTES} minutes are over. Left: {names}. Type it again.")
            return len(pieces) - number + 1
        print(f"{number}/{len(pieces)} {piece.name}: about {piece.seconds} s", flush=True)
        keep(outcomes([piece], about, False, min(3 * piece.seconds, left)), store)
    return 0


def rehearse(pieces: list[Piece], store: Store, about: dict[str, Any]) -> None:
    """Run pieces at a tiny size, in one process: to start one each would take most of the time."""
    limit = 3 * sum(piece.seconds for piece in pieces)
    keep(outcomes(pieces, about, True, limit), store)


def keep(found: dict[str, Outcome], store: Store) -> None:
    """Store outcomes, write the pages, and say what was found."""
    for piece in [piece for piece in PIECES if piece.name in found]:
        outcome = found[piece.name]
        store.keep(piece.name, outcome)
        said = page.cell(piece, store.data, store.data["backend"])
        print(f"    {said}: {piece.name}, {outcome.get('seconds', 0)} s", flush=True)
        for row in outcome.get("checks", []):
            if not row["holds"]:
                print(f"    does not hold: {row['claim']}: {row['found']}")
    page.write(store.path.parent)


def main() -> int:
    begun = time.monotonic()
    parser = argparse.ArgumentParser(
        prog="scripts/prove device",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", choices=[piece.name for piece in PIECES], metavar="PIECE")
    parser.add_argument("--rehearse", type=Path, metavar="FOLDER")
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    if args.write:
        from scripts.proofs.device import bits  # imports jax

        return bits.write()
    small, about = args.rehearse is not None, look()
    if about["backend"] == "cpu" and not small:
        print("No GPU and no TPU: jax sees a CPU. Nothing was run.", file=sys.stderr)
        return 1
    store = Store(args.rehearse or FOLDER, about["kind"], about["backend"])
    pieces = [p for p in PIECES if args.only == p.name or not (args.only or store.done(p.name))]
    expected = sum(piece.seconds for piece in pieces)
    print(f"{about['device']}: {len(pieces)} of {len(PIECES)} pieces, on a GPU about {expected} s")
    left = 0
    if small:
        rehearse(pieces, store, about)
    else:
        left = run(pieces, store, about, begun + 60 * MINUTES - 10)
    print(f"stored: {store.path}, README.md and {store.path.stem}.md beside it")
    these = [store.data["pieces"].get(piece.name, {}) for piece in pieces]
    held = all(row["holds"] for outcome in these for row in outcome.get("checks", []))
    failed = any(outcome.get("state") == "failed" for outcome in these)
    return int(bool(left) or failed or not held)


if __name__ == "__main__":
    raise SystemExit(main())
