"""What scripts/kill_and_resume kills: how it is started, what it saves, what comes out."""

import dataclasses
import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]


@dataclasses.dataclass(frozen=True)
class Subject:
    """A program that saves itself as it goes."""

    name: str
    title: str
    unit: str
    """What is counted by saved."""
    arguments: tuple[str, ...]
    """Of Python; "FOLDER" stands for the folder."""
    places: tuple[str, ...]
    """Where it writes, in the folder."""
    file: str
    """A pattern for the names of what it saves."""
    saved: Callable[[Path], int]
    """How much is saved in a folder."""
    outcome: Callable[[Path], dict[str, str]]
    """Return the digests of what came out."""
    last: str = ""
    """What is half written just before it ends, if anything."""
    finished: Callable[[Path], bool] = lambda folder: False
    """Whether nothing is left to resume, even if the program was killed before it ended."""
    environment: dict[str, str] = dataclasses.field(
        default_factory=lambda: {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""}
    )
    """Variables that choose the device and how it computes."""

    def start(self, folder: Path) -> "subprocess.Popen[str]":
        """Start it, or resume it, in a folder."""
        return subprocess.Popen(
            [sys.executable, *(a.replace("FOLDER", str(folder)) for a in self.arguments)],
            cwd=ROOT,
            env=os.environ
            | {
                "PYTHONPATH": os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", ""))),
                # Every call runs the very same programs, and compiles them once.
                "JAX_COMPILATION_CACHE_DIR": str(folder.parent / "compiled"),
                "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            }
            | self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def saves(self, folder: Path) -> int:
        """Return a number that changes whenever something has been saved."""
        return hash(frozenset(e for e in self._entries(folder) if re.fullmatch(self.file, e[0])))

    def partial(self, folder: Path) -> set[tuple[str, int, int]]:
        """Return what is half written: names, inodes and times."""
        return {e for e in self._entries(folder) if e[0].endswith(".partial") or "-tmp" in e[0]}

    def _entries(self, folder: Path) -> list[tuple[str, int, int]]:
        found = []
        for place in self.places:
            try:
                with os.scandir(folder / place) as entries:
                    for entry in entries:
                        about = entry.stat(follow_symlinks=False)
                        found.append((entry.name, about.st_ino, about.st_mtime_ns))
            except OSError:
                continue  # not yet there, or renamed between the two looks
        return found


def _checkpoints(folder: Path) -> int:
    place = folder / "checkpoints"
    names = os.listdir(place) if place.is_dir() else []
    return max((int(name) for name in names if name.isdigit()), default=0)


def _parts(folder: Path) -> int:
    from experiments._harness.parts import Parts  # imports jax

    return Parts(folder / "unfinished" / "work").done()


def _final(folder: Path) -> dict[str, str]:
    """Return the digests that the worker wrote, and that of the lines of metrics if it has any."""
    found = json.loads((folder / "final.json").read_text())
    lines = folder / "metrics.jsonl"
    return found | ({lines.name: _sha256(lines.read_bytes())} if lines.exists() else {})


def _result(folder: Path) -> dict[str, str]:
    """Return the digest of all numbers, the parameters' digests, and that of the figure."""
    result = json.loads((folder / "result.json").read_text())
    return {
        "numbers": _sha256(json.dumps(result["numbers"]).encode()),
        **{f"{name}.{k}": v for name, found in result["digests"].items() for k, v in found.items()},
        "figure.png": _sha256((folder / "figure.png").read_bytes()),
    }


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


SUBJECTS = {
    "fit": Subject(
        name="fit",
        title="310 steps of an NNX network with dropout and batch norm through "
        "`jaxdrop.training.fit`, a checkpoint every 10 steps",
        unit="steps",
        arguments=("-m", "scripts.kill_worker", "fit", "FOLDER"),
        places=(".", "checkpoints"),
        file=r"\d+",
        saved=_checkpoints,
        outcome=_final,
    ),
    "sweep": Subject(
        name="sweep",
        title="30 runs through `jaxdrop.training.sweep`, a chunk of 8 MB after each",
        unit="runs",
        arguments=("-m", "scripts.kill_worker", "sweep", "FOLDER"),
        places=(".",),
        file=r"chunk-\d+\.msgpack",
        saved=lambda folder: len(list(folder.glob("chunk-*.msgpack"))),
        outcome=_final,
    ),
    "experiment": Subject(
        name="experiment",
        title="`scripts/run uci --data boston --epoch-factor 1 --samples 100`, 80 parts, then "
        "result.json and figure.png",
        unit="parts",
        arguments=("-m", "experiments", "uci", "--data", "boston", "--epoch-factor", "1",
                   "--samples", "100", "--out", "FOLDER"),
        places=(".", "unfinished", "unfinished/work"),
        file=r".*\.(tree|numbers)|result\.json",
        saved=_parts,
        outcome=_result,
        last=".figure.png.partial",
        finished=lambda folder: (
            (folder / "figure.png").exists() and not (folder / "unfinished").exists()
        ),
    ),
}  # fmt: skip
