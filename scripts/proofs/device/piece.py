"""The pieces of the day with a device, and how they are run: calls, sizes, needs.

    python -m scripts.proofs.device.piece PLATFORM FOLDER [--small] NAME ...

runs those that are named and writes what each found to FOLDER/NAME.json. To read the list, Python's
own modules suffice.
"""

import argparse
import dataclasses
import importlib
import importlib.util
import json
import time
from pathlib import Path
from typing import Any, NamedTuple


class Size(NamedTuple):
    """What a piece is run at.

    Attributes:
      small: as in the rehearsal on a CPU; else as large as a device takes.
      platform: "gpu", "tpu", or "cpu" in the rehearsal.
    """

    small: bool
    platform: str


@dataclasses.dataclass(frozen=True)
class Piece:
    """One part of the day."""

    name: str
    shows: str
    """Its line on the page."""
    call: str
    """MODULE.FUNCTION in this folder: takes a Size, returns the parts of ``found``."""
    seconds: int
    """How long it is thought to take on a GPU; it is ended after three times that."""
    needs: tuple[str, ...] = ("flax", "optax", "rich")
    """Modules without which it cannot run."""
    tpu: bool = True
    """Whether a TPU can run it, too."""

    def missing(self) -> list[str]:
        """Name the modules that it needs and that are not installed."""
        return [name for name in self.needs if importlib.util.find_spec(name) is None]


def found(
    checks: list[dict[str, Any]] | None = None, **tables: list[dict[str, Any]]
) -> dict[str, Any]:
    """What a piece returns: claims that hold or not, and tables of what was measured, by title."""
    return {"checks": checks or [], "tables": tables}


PIECES = (
    Piece("bits", "The bits that a CPU drew: all dtypes, past 2^32", "bits.run", 35, ()),
    Piece(
        "guarantees", "The tests of the core, run on the device", "guarantees.run", 60,
        ("pytest", "hypothesis", "flax", "optax"),
    ),
    Piece("programs", "Fused into one pass; nothing sent between devices", "programs.run", 20, ()),
    Piece("memory", "Memory peaks of eight layers, no mask in memory", "memory.run", 65, ()),
    Piece("core", "Speed of a call, as a share of a copy", "benches.core", 50),
    Piece("model", "Speed of a transformer's step", "benches.model", 45),
    Piece("family", "Speed of every member", "benches.family", 60),
    Piece("attention", "Attention with dropout, against flax", "benches.attention", 40),
    Piece("removal", "Steps that leave out what is dropped", "benches.removal", 30),
    Piece("compile", "Seconds to compile many layers", "benches.compiling", 45),
    Piece("sweep", "Sweeps, vectorized against one by one", "benches.sweeps", 25),
    Piece(
        "kills", "Killed and resumed to the same bits", "kills.run", 45,
        ("flax", "optax", "orbax", "rich"),
    ),
    Piece("processes", "Two processes on one card", "processes.run", 20, (), tpu=False),
    Piece(
        "quickstart", "scripts/run quickstart, twice, to the same bits", "quickstart.run", 40,
        ("tyro", "mlxtend", "matplotlib", "rich", "flax", "optax", "orbax"),
    ),
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("platform")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("names", nargs="+", choices=[piece.name for piece in PIECES])
    args = parser.parse_args()
    calls = {piece.name: piece.call for piece in PIECES}
    for name in args.names:
        module, _, function = calls[name].partition(".")
        begun = time.monotonic()
        run = getattr(importlib.import_module(f"scripts.proofs.device.{module}"), function)
        outcome = run(Size(args.small, args.platform))
        outcome["seconds"] = round(time.monotonic() - begun, 1)
        (args.folder / f"{name}.json").write_text(json.dumps(outcome))


if __name__ == "__main__":
    main()
