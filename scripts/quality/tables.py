"""Turn findings into the tables of a Markdown report."""

import json
import pathlib
import re
from collections.abc import Iterable, Sequence
from typing import Any

_ROW = re.compile(r"^\s*(\w+)\|\s*(\d+)\|\s*(\d+)\|\s*(\d+)\|([0-9.]+)\|\s*(\w+)\s*$")


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(
        "| " + " | ".join(str(cell).replace("|", r"\|") for cell in line) + " |" for line in lines
    )


def dieharder(path: pathlib.Path) -> dict[str, Any]:
    """Read what dieharder printed: its command, and every p-value."""
    text = path.read_text()
    found = [match for line in text.splitlines() if (match := _ROW.match(line))]
    rows = [{"test": m[1], "ntup": int(m[2]), "p": float(m[5]), "assessment": m[6]} for m in found]
    commands = re.findall(r"^# (scripts/stream_bits .*)$", text, re.MULTILINE)
    return {
        "file": path.name,
        "commands": commands,
        "complete": "# ended" in text,
        "p_values": rows,
    }


def count_by_assessment(run: dict[str, Any]) -> dict[str, int]:
    """Number of p-values that dieharder calls PASSED, WEAK and FAILED."""
    found = [row["assessment"] for row in run["p_values"]]
    return {name: found.count(name) for name in ("PASSED", "WEAK", "FAILED")}


def candidates(folder: pathlib.Path) -> str:
    """Return the comparison of the mixes from the three JSON files of the folder."""
    tests, times, instructions = (
        json.loads((folder / f"{name}.json").read_text())["candidates"]
        for name in ("candidates", "times", "instructions")
    )
    shapes = list(next(iter(times.values())))
    rows = []
    for name, found in tests.items():
        weak = found["fails with weak key words"].values()
        rows.append(
            (
                f"`{name}`",
                instructions[name]["integer over a copy"],
                *(times[name][shape] for shape in shapes),
                _names(case.split(",")[0] for case in found["fails"]),
                _names(test for tests in weak for test in tests),
            )
        )
    header = ("mix", "integer instructions", *(f"time {s}" for s in shapes))
    return table((*header, "fails", "with weak words"), rows)


def _names(tests: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(tests)) or "nothing"
