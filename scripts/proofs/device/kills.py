"""Kill fit and a sweep on the device, resume them, compare them with runs left alone."""

import dataclasses
import random
import tempfile
from pathlib import Path
from typing import Any

from scripts import kill_and_resume
from scripts.kill_subjects import SUBJECTS
from scripts.proofs import report
from scripts.proofs.device.piece import Size, found

KILLS = {"fit": 3, "sweep": 2}
SHOWN = ("where", "saved_before", "resumed_from", "saved_after")


def run(size: Size) -> dict[str, Any]:
    checks, rows = report.Checks(), []
    # The rehearsal kills one run of fit: tests/scripts/test_kills.py has a sweep, too.
    for name, kills in ({"fit": 1} if size.small else KILLS).items():
        arguments = (*SUBJECTS[name].arguments, *("--short",) * size.small)
        # No environment of its own: this process's device.
        subject = dataclasses.replace(SUBJECTS[name], arguments=arguments, environment={})
        with tempfile.TemporaryDirectory() as folder:
            part = kill_and_resume.kill_often(subject, kills, random.Random(0), Path(folder))
        checks.add(
            f"{name}: killed and resumed, nothing saved is lost, and the bits are the same",
            kill_and_resume.holds({"subjects": {name: part}}),
            f"{len(part['differ'])} of {part['compared']} digests differ",
        )
        rows += [{"killed": name, **{n: kill[n] for n in SHOWN}} for kill in part["kills"]]
    return found(checks.rows, **{"Kills": rows})
