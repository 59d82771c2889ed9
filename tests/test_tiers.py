"""Tests that start no process are the quick tier; one that starts a process there fails."""

import os
import subprocess
import sys
from collections.abc import Callable
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
