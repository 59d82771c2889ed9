"""scripts/run sweep --part i/n: jobs, killed or not, make the very files of a single run."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("tyro", reason="experiments need the extra jaxdrop[experiments]")
from experiments import sweep  # noqa: E402
from experiments._harness.command import run_command  # noqa: E402
from tests.experiments import test_folders  # noqa: E402
from tests.experiments.test_folders import SWEEP, numbers, train  # noqa: E402

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def run(out: Path, *more: str) -> int:
    return run_command("sweep", [*SWEEP, "--out", str(out), *more])


# A process that ends by SIGKILL after its first chunk.
KILLED = """
import os, runpy, signal, sys
from experiments import sweep
from experiments._harness.command import run_command
train = runpy.run_path(sys.argv[1])["train"]
run, sweep.make_train = sweep.run, lambda net, recipe: train
kill = lambda n=1: os.kill(os.getpid(), signal.SIGKILL)
sweep.run = lambda config, tick, folder, part: run(config, kill, folder, part)
run_command("sweep", sys.argv[2:])
"""


def killed(out: Path, *more: str) -> int:
    """Return the exit status of a job that is killed."""
    file = str(test_folders.__file__)
    command = [sys.executable, "-c", KILLED, file, *SWEEP, "--out", str(out), *more]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


def test_jobs_make_the_table_of_a_single_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(sweep, "make_train", lambda net, recipe: train)
    single, out = tmp_path / "single", tmp_path / "out"
    assert run(single) == 0  # four runs, a chunk each

    assert killed(out, "--part", "1/2") == -signal.SIGKILL
    chunks = out / "parts" / "grid" / "part-1-of-2"
    assert [p.name for p in chunks.glob("chunk-*")] == ["chunk-00000.msgpack"]
    assert run(out, "--part=2/2") == 0
    assert "parts holds run 3 of 4" in capsys.readouterr().out
    assert run(out, "--part", "1/2", "--steps", "10") == 2
    assert "part-2-of-2 holds chunks of another sweep (config.steps: 5" in capsys.readouterr().err
    assert run(out, "--part", "1/2") == 0
    assert "the same command without --part joins" in capsys.readouterr().out.replace("The", "the")
    assert not (out / "result.json").exists()

    assert run(out) == 0
    assert numbers(out) == numbers(single)
    for name in ("table.csv", "figure.png"):
        assert (out / name).read_bytes() == (single / name).read_bytes()
    assert sorted(p.name for p in out.iterdir()) == sorted(p.name for p in single.iterdir())


def test_a_part_without_meaning_is_a_sentence(tmp_path: Path, capsys: Any) -> None:
    wrong = [
        (["--part", "3/2"], "--part is '3/2', expected i/n for job i of n, such as 1/3 or 3/3"),
        (["--part", "0/2"], "--part is '0/2'"),
        (["--part", "x"], "--part is 'x'"),
        (["--part", "1/2/3"], "--part is '1/2/3'"),
        (["--part=-1/2"], "--part is '-1/2'"),
        (["--part", "1/2", "--vectorize", "auto"], "--vectorize is 'auto', expected map or vmap"),
    ]
    for options, sentence in wrong:
        assert run(tmp_path, *options) == 2
        line = capsys.readouterr().err.strip()
        assert "\n" not in line and line.startswith(sentence)
    (tmp_path / "unfinished").mkdir()
    assert run(tmp_path, "--part", "1/2") == 2
    assert "unfinished holds a run without parts; let it end, or" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["unfinished"]
