"""Write a report twice: JSON for programs, Markdown for people."""

import argparse
import importlib.metadata
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[2] / "results" / "prove"


class Checks:
    """Claims, each with what was found; prints them as they come."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def add(self, claim: str, holds: bool, found: str) -> None:
        self.rows.append({"claim": claim, "holds": bool(holds), "found": found})
        print(f"{'ok  ' if holds else 'FAIL'}  {claim}: {found}", flush=True)

    def failed(self) -> bool:
        return not all(row["holds"] for row in self.rows)

    def markdown(self) -> str:
        return table(
            ["claim", "holds", "found"],
            [[r["claim"], "yes" if r["holds"] else "**NO**", r["found"]] for r in self.rows],
        )


def name(device: str, description: str) -> str:
    """Read the command line of a proof; return the name of its report."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--newest", action="store_true", help="with the newest jax")
    return device + ("-newest" if parser.parse_args().newest else "")


def command(name: str) -> str:
    """The command that writes the report of that name."""
    return f"scripts/prove {name}".replace("-", " --")


def versions(*names: str) -> dict[str, str]:
    """The installed version of each package, where there is one."""
    found = {}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def write(name: str, data: dict[str, Any], markdown: str) -> None:
    """Write results/prove/NAME.json and NAME.md."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / f"{name}.json").write_text(json.dumps(data, indent=1) + "\n")
    (FOLDER / f"{name}.md").write_text(markdown)
    print(f"written: results/prove/{name}.json and {name}.md", flush=True)
