"""The tests of the core that name no CPU, run on the device by pytest."""

import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from scripts.proofs import report
from scripts.proofs.device.piece import Size, found

ROOT = Path(__file__).parents[3]
FILES = (
    "tests/core/test_golden.py",
    "tests/core/test_index.py",
    "tests/core/test_batches.py",
    "tests/core/test_legacy_keys.py",
    "tests/core/test_modes.py",
    "tests/core/test_normal.py",
    "tests/core/test_transforms.py",
    "tests/functional/test_dropout.py",
)
SMALL = ("tests/core/test_golden.py", "-k", "frozen and (vector or mask)")


def run(size: Size) -> dict[str, Any]:
    checks = report.Checks()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "junit.xml"
        command = [sys.executable, "-m", "pytest", "-q", f"--junitxml={file}"]
        if size.platform == "gpu" and importlib.util.find_spec("xdist"):
            command += ["-n", "4"]  # most of the time is spent compiling, on the host
        chosen = SMALL if size.small else FILES
        done = subprocess.run([*command, *chosen], cwd=ROOT, env=os.environ | environment(size))
        if not file.exists():
            raise RuntimeError(f"pytest ended with {done.returncode}, see above")
        cases = list(ElementTree.parse(file).iter("testcase"))
    by_file: dict[str, list[ElementTree.Element]] = {}
    for case in cases:
        by_file.setdefault(case.get("classname", "").replace(".", "/") + ".py", []).append(case)
    for name, group in by_file.items():
        bad = [c.get("name", "") for c in group if c.find("failure") is not None]
        bad += [c.get("name", "") for c in group if c.find("error") is not None]
        skipped = sum(case.find("skipped") is not None for case in group)
        told = f"{len(group) - len(bad) - skipped} passed, {skipped} skipped"
        checks.add(name, not bad, told + (f", failed: {', '.join(bad)}" if bad else ""))
    return found(checks.rows)


def environment(size: Size) -> dict[str, str]:
    """tests/conftest.py takes a CPU unless told otherwise; several workers share one card."""
    platforms = {"gpu": "cuda,cpu", "tpu": "tpu,cpu"}.get(size.platform, "cpu")
    return {"JAX_PLATFORMS": platforms, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
