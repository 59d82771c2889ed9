"""``scripts/run quickstart`` as users type it, then ``scripts/run reproduce``."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from scripts.proofs import report
from scripts.proofs.device.piece import Size, found

SMALL = ("--seeds", "1", "--epochs", "1", "--draws", "1", "--hidden", "8")


def run(size: Size) -> dict[str, Any]:
    checks, options = report.Checks(), SMALL if size.small else ()
    command = [sys.executable, "-P", "-m", "experiments"]
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([*command, "quickstart", "--out", folder, *options], check=True)
        stored = Path(folder) / "result.json"
        result = json.loads(stored.read_text())
        again = subprocess.run([*command, "reproduce", stored], text=True, stdout=subprocess.PIPE)
    print(again.stdout)
    checks.add(
        "quickstart, run again: every number and parameter is the same",
        again.returncode == 0,
        again.stdout.partition("\n")[0].strip(),
    )
    rows = [
        {"way": arm["label"]}
        | {f"{n}, %": round(100 * arm["final"][n]["mean"], 1) for n in SHOWN}
        | {"seeds": result["config"]["seeds"]}
        for arm in result["numbers"].values()
    ]
    return found(checks.rows, **{f"Trained in {result['seconds']} s": rows})


SHOWN = ("train_accuracy", "test_accuracy", "gap")
