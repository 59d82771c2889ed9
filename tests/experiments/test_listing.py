"""scripts/run lists the experiments, and finds the nearest name."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.scripts.checkout import ROOT


def experiments(*args: str, prelude: str = "") -> subprocess.CompletedProcess[str]:
    code = f"{prelude}\nfrom experiments.__main__ import main\nraise SystemExit(main({args!r}))"
    return subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.slow
def test_experiments_are_listed_without_importing_jax() -> None:
    done = experiments(prelude="import sys; sys.modules['jax'] = None")
    assert done.returncode == 0, done.stderr
    for name in ("quickstart", "reproduce"):
        assert re.search(rf"^  {name} +\S.*$", done.stdout, re.M), done.stdout


@pytest.mark.slow
def test_unknown_experiment_gets_the_nearest_name_and_the_list() -> None:
    done = experiments("quikstart")
    assert done.returncode == 2
    assert "There is no experiment named 'quikstart'. Did you mean quickstart?" in done.stderr
    assert "  reproduce" in done.stderr
    assert "Traceback" not in done.stderr


def test_every_public_file_and_folder_is_an_experiment(tmp_path: Path) -> None:
    from experiments.__main__ import find_experiments

    (tmp_path / "one.py").write_text('"""First line.\n\nMore."""\n')
    (tmp_path / "_two.py").write_text('"""Private."""\n')
    (tmp_path / "four.py").write_text("")
    for name in ("a_folder", "_three", "no_package"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "report.py").write_text('"""A part of it."""\n')
    for name in ("a_folder", "_three"):
        (tmp_path / name / "__init__.py").write_text('"""Of a folder."""\n')
    found = {"a_folder": "Of a folder.", "four": "", "one": "First line."}
    assert find_experiments(tmp_path) == found
