"""How long ``import jaxdrop`` takes beyond ``import jax``.

Each import is the whole of a fresh process, timed from within, taken in turn; medians count. The
promise: at most 0.1 s more than jax alone, which most programs import anyway.
"""

import dataclasses
import statistics
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

MODULES = ("jax", "jaxdrop", "jaxdrop.nnx", "flax.nnx")
PROMISE = 0.1
TIMED = "import time; t = time.perf_counter(); import {0}; print(time.perf_counter() - t)"


@dataclasses.dataclass(frozen=True)
class Config:
    turns: int = 9
    """How often each is imported."""


def seconds(module: str) -> float:
    code = TIMED.format(module)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout)


def run(config: Config, console: Console) -> list[dict[str, Any]]:
    taken: dict[str, list[float]] = {module: [] for module in MODULES}
    for module in MODULES:
        seconds(module)  # the first one reads files that the next ones find in memory
    for _ in range(config.turns):
        for module in MODULES:
            taken[module].append(seconds(module))
    cases = record(taken)
    console.print(table(cases))
    return cases


def record(taken: dict[str, list[float]]) -> list[dict[str, Any]]:
    """Return medians, and those of the differences to the same turn's ``import jax``."""
    over = {
        module: [one - jax for one, jax in zip(times, taken["jax"], strict=True)]
        for module, times in taken.items()
    }
    return [
        {
            "module": module,
            "seconds": statistics.median(times),
            "over_jax": statistics.median(over[module]),
            "promise": PROMISE if module == "jaxdrop" else None,
        }
        for module, times in taken.items()
    ]


def failed(cases: Sequence[dict[str, Any]]) -> bool:
    return any(case["promise"] and case["over_jax"] > case["promise"] for case in cases)


def table(cases: Sequence[dict[str, Any]]) -> Table:
    out = Table(title="imports: medians of fresh processes, in seconds")
    for name in ("import", "seconds", "beyond jax", "promised"):
        out.add_column(name, justify="left" if name == "import" else "right")
    for case in cases:
        promise = f"{case['promise']:.2f}" if case["promise"] else "-"
        out.add_row(case["module"], f"{case['seconds']:.2f}", f"{case['over_jax']:.2f}", promise)
    return out
