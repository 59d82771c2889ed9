"""What came out, in FOLDER/NAME.json: one entry a piece, written as soon as there is one.

    {"device": kind, "backend": "gpu" | "tpu" | "cpu", "pieces": {name: outcome}}

An outcome has a state, "done", "failed" or "not run"; "why", unless it is done; the end of what a
failed one printed; the seconds that it took; its checks and tables; and where it ran.
"""

import json
import os
import re
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[3] / "results" / "device"
Outcome = dict[str, Any]


def file_name(kind: str) -> str:
    """Return the name of a device's files: "NVIDIA H200" has nvidia-h200.json."""
    return re.sub(r"[^a-z0-9]+", "-", kind.lower()).strip("-")


class Store:
    """The outcomes of one device."""

    def __init__(self, folder: Path, kind: str, backend: str):
        self.path = folder / f"{file_name(kind)}.json"
        self.data: dict[str, Any] = {"device": kind, "backend": backend, "pieces": {}}
        if self.path.exists():
            self.data = json.loads(self.path.read_text())

    def done(self, piece: str) -> bool:
        return self.data["pieces"].get(piece, {}).get("state") == "done"

    def keep(self, piece: str, outcome: Outcome) -> None:
        """Write the file anew; a kill leaves the old one or the new one."""
        self.data["pieces"][piece] = outcome
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_suffix(".partial")
        partial.write_text(json.dumps(self.data, indent=1) + "\n")
        os.replace(partial, self.path)


def stored(folder: Path = FOLDER) -> list[dict[str, Any]]:
    """Read every device's outcomes, in the order of their files' names."""
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
