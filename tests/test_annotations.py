"""The annotations of jaxdrop are true: every public call, run with beartype enforcing them."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_no_public_call_goes_against_an_annotation() -> None:
    command = [sys.executable, "tests/annotated_calls.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout.split()[0]) > 100
