"""Kill a training run at random moments, resume it each time, compare it with one left alone.

Two in three kills come at a random moment between two checkpoints. One in three waits until a
checkpoint is being written and comes up to 10 ms later. Claimed, and checked:

- after each kill the next call goes on from the newest checkpoint that was whole: none is lost;
- at the end every array of the state, and metrics.jsonl, has the bytes of the run left alone.

Exit code 0 if all of that holds, else 1. Reports: OUT/kills.json and OUT/kills.md.
"""

import dataclasses
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console
from rich.progress import track

ROOT = Path(__file__).parents[1]
STEPS_PER_KILL = 124  # two epochs of the worker: more than a killed call can do
PATIENCE = 300.0  # seconds for a call to come to where it is killed


@dataclasses.dataclass(frozen=True)
class Config:
    """Kill a training run at random moments, resume it, compare it with one left alone."""

    kills: int = 20
    """How often the run is killed."""
    seed: int = 0
    """Of the moments at which it is killed."""
    out: Path = ROOT / "results" / "training"
    """Folder for kills.json and kills.md."""


def steps_saved(folder: Path) -> list[int]:
    """Return the steps of the whole checkpoints, read off the names that a rename gave them."""
    place = folder / "checkpoints"
    names = os.listdir(place) if place.is_dir() else []
    return sorted(int(name) for name in names if name.isdigit())


def being_written(folder: Path) -> bool:
    place = folder / "checkpoints"
    return place.is_dir() and any("tmp" in name for name in os.listdir(place))


def start(folder: Path, steps: int) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "scripts.kill_worker", str(folder), str(steps)],
        cwd=ROOT,
        env=os.environ
        | {
            "PYTHONPATH": str(ROOT),
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": "",
            # Every call runs the very same program, and compiles it once.
            "JAX_COMPILATION_CACHE_DIR": str(folder.parent / "compiled"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        },
        stderr=subprocess.PIPE,
        text=True,
    )


def kill_once(folder: Path, steps: int, inside: bool, rng: random.Random) -> dict[str, Any]:
    """Start the run, let it save a few checkpoints, kill it; return what was seen."""
    before = max(steps_saved(folder), default=0)
    wanted, wait = rng.randint(1, 6), rng.uniform(0, 0.01 if inside else 0.1)
    process = start(folder, steps)
    give_up = time.monotonic() + PATIENCE
    seen: set[int] = set()
    while process.poll() is None and time.monotonic() < give_up:
        seen |= {step for step in steps_saved(folder) if step > before}
        if len(seen) >= wanted and (not inside or being_written(folder)):
            time.sleep(wait)
            break
        time.sleep(0.0005)
    process.kill()
    said = process.communicate()[1]
    if process.returncode != -9:
        raise RuntimeError(f"the run was not killed but ended with {process.returncode}:\n{said}")
    resumed = re.search(r"Resuming from step (\d+)", said)
    return {
        "resumed_from": int(resumed[1]) if resumed else 0,
        "newest_whole_checkpoint_before": before,
        "newest_whole_checkpoint_after": max(steps_saved(folder), default=0),
        "killed_inside_a_write": being_written(folder),
    }


def finish(folder: Path, steps: int) -> tuple[dict[str, str], str]:
    """Let the run come to its end; return its digests and metrics.jsonl."""
    done = start(folder, steps)
    said = done.communicate()[1]
    if done.returncode:
        raise RuntimeError(f"the run ended with {done.returncode}:\n{said}")
    return json.loads((folder / "final.json").read_text()), (folder / "metrics.jsonl").read_text()


def experiment(kills: int, seed: int, folder: Path) -> dict[str, Any]:
    """Kill a run that often in the folder; return the report."""
    steps, rng = kills * STEPS_PER_KILL, random.Random(seed)
    alone = finish(folder / "alone", steps)
    cut = folder / "cut"
    order = track(range(kills), "kills", console=Console(stderr=True), transient=True)
    rows = [kill_once(cut, steps, i % 3 == 1, rng) for i in order]
    final = finish(cut, steps)
    return {
        "steps": steps,
        "kills": rows,
        "inside_a_write": sum(row["killed_inside_a_write"] for row in rows),
        "saved_steps_lost": sum(
            row["resumed_from"] != row["newest_whole_checkpoint_before"] for row in rows
        ),
        "arrays": len(alone[0]),
        "arrays_that_differ": sorted(
            k for k in alone[0] | final[0] if alone[0].get(k) != final[0].get(k)
        ),
        "metrics_identical": alone[1] == final[1],
        "metrics_lines": len(alone[1].splitlines()),
    }


def holds(report: dict[str, Any]) -> bool:
    return (
        not report["saved_steps_lost"]
        and not report["arrays_that_differ"]
        and report["metrics_identical"]
    )


def markdown(report: dict[str, Any]) -> str:
    lines = [
        "# A training run that is killed and resumed",
        "",
        f"Printed by `scripts/kills --kills {len(report['kills'])} --seed {report['seed']}`: "
        f"{report['steps']} steps of an NNX network with dropout and batch norm through "
        f"`jaxdrop.training.fit`, killed {len(report['kills'])} times by SIGKILL, "
        f"{report['inside_a_write']} of them while a checkpoint was being written.",
        "",
        f"- Saved steps that were lost: {report['saved_steps_lost']}.",
        f"- Arrays of the final state that differ from the run left alone: "
        f"{len(report['arrays_that_differ'])} of {report['arrays']}.",
        f"- metrics.jsonl ({report['metrics_lines']} lines): "
        f"{'the same bytes' if report['metrics_identical'] else 'DIFFERENT'}.",
        "",
        "| kill | resumed from | newest whole checkpoint when killed | inside a write |",
        "| ---: | ---: | ---: | --- |",
    ]
    for i, row in enumerate(report["kills"], 1):
        inside = "yes" if row["killed_inside_a_write"] else ""
        lines.append(
            f"| {i} | {row['resumed_from']} | {row['newest_whole_checkpoint_after']} | {inside} |"
        )
    return "\n".join(lines) + "\n"


def main(argv: list[str]) -> int:
    config = tyro.cli(Config, args=argv, prog="scripts/kills", description=__doc__)
    config.out.mkdir(parents=True, exist_ok=True)
    from experiments._result import environment  # imports jax

    with tempfile.TemporaryDirectory() as folder:
        report = {
            "seed": config.seed,
            "environment": environment(),
            **experiment(config.kills, config.seed, Path(folder)),
        }
    (config.out / "kills.json").write_text(json.dumps(report, indent=1) + "\n")
    (config.out / "kills.md").write_text(markdown(report))
    print(markdown(report))
    return 0 if holds(report) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
