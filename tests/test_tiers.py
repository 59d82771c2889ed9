"""The tiers: what starts a process is marked slow; the core holds as users compile it."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

RUN = [sys.executable, "-c", ""]


@pytest.mark.parametrize(
    "start",
    [
        lambda: subprocess.run(RUN),
        lambda: os.fork() or os._exit(0),
        lambda: os.system(""),
        lambda: subprocess.Popen(RUN),
    ],
    ids=["run", "fork", "system", "Popen"],
)
def test_a_process_in_the_quick_tier_fails_the_test(start: Callable[[], Any]) -> None:
    with pytest.raises(pytest.fail.Exception, match="pytest.mark.slow"):
        start()


@pytest.mark.slow
def test_a_slow_test_may_start_one() -> None:
    assert subprocess.run(RUN).returncode == 0


@pytest.mark.slow
def test_the_core_holds_at_the_optimisation_level_that_users_have() -> None:
    """The other tests compile faster, see tests/conftest.py."""
    files = [f"tests/core/test_{name}.py" for name in ("golden", "keep_where")]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files],
        env=os.environ | {"XLA_FLAGS": "--xla_backend_optimization_level=3"},
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
