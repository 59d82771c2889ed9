"""Two processes of four devices train one model, stop together, and share their checkpoints."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

pytest.importorskip("tyro", reason="experiments need the extra jaxdrop[experiments]")
from experiments import char_lm  # noqa: E402  (after the check)
from experiments._harness.command import run_command  # noqa: E402
from tests.processes import ended, free_port  # noqa: E402

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SMALL: dict[str, Any] = {
    "steps": 38, "train_bytes": 5_000, "test_bytes": 400, "layers": 1, "width": 16, "heads": 2,
    "context": 16, "batch": 16, "model_devices": 2, "learning_rate": 0.01,
}  # fmt: skip
OPTIONS = [f"--{name.replace('_', '-')}={value}" for name, value in SMALL.items()]


# Slow enough for a SIGTERM, of which jax tells the other process within a second or two.
SLOW = """
import sys, time
from experiments._harness.command import run_command
from experiments._networks import char_training
fit = char_training.fit
char_training.fit = lambda *a, tick, **k: fit(*a, tick=lambda n: (tick(n), time.sleep(0.12)), **k)
sys.exit(run_command("char_lm", sys.argv[2:]))
"""


def start(out: Path, port: int, process: int) -> "subprocess.Popen[str]":
    several = ["--coordinator", f"127.0.0.1:{port}", "--num-processes", "2"]
    return subprocess.Popen(
        [sys.executable, "-c", SLOW, "char_lm", *OPTIONS, "--out", str(out), *several,
         "--process-id", str(process)],
        cwd=ROOT,
        env=os.environ
        | {
            "PYTHONPATH": str(ROOT),
            "JAX_PLATFORMS": "cpu",
            "PYTHONFAULTHANDLER": "1",
            "XLA_FLAGS": os.environ["XLA_FLAGS"] + " --xla_force_host_platform_device_count=4",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )  # fmt: skip


def stop_two(out: Path, until: Callable[[], bool]) -> list[tuple[int, str]]:
    """Run the command in two processes; one of them gets SIGTERM when until() says so."""
    port = free_port()
    running = [start(out, port, i) for i in range(2)]
    while not until() and all(process.poll() is None for process in running):
        time.sleep(0.05)
    running[1].send_signal(signal.SIGTERM)
    return ended(running)


def test_processes_stop_together_and_other_devices_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    lines = out / "unfinished" / "work" / "none" / "metrics.jsonl"
    stopped = stop_two(out, lambda: lines.exists() and len(lines.read_text()) > 10)
    assert [code for code, _ in stopped] == [143, 143], stopped
    assert "Stopped after step" in stopped[0][1] and "Stopped after" not in stopped[1][1]
    config = char_lm.Config(**SMALL)
    where = char_lm.resume_point(config, out / "unfinished" / "work")
    assert where and f"of {char_lm.ticks(config)}" in where

    # Eight devices of one process resume from what two processes of four saved together.
    with jax.numpy_dtype_promotion("standard"):  # optax.adam
        assert run_command("char_lm", [*OPTIONS, "--out", str(out)]) == 0
        whole = char_lm.run(config)["numbers"]
    told = capsys.readouterr().err
    assert f"Resuming char_lm from {where}" in told
    assert "Note: it began with device 8 x cpu" not in told  # eight devices then, and now
    numbers = json.loads((out / "result.json").read_text())["numbers"]
    for arm in char_lm.ARMS:
        for name in ("train", "test"):
            a, b = (np.asarray(run[arm]["epochs"][name]) for run in (numbers, whole))
            # Sums over devices in another order; Adam makes of that at most a step of its own size.
            np.testing.assert_allclose(a, b, rtol=1e-3)


def test_only_the_first_process_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(char_lm, "run", lambda config, tick, folder: {"numbers": {}})
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    assert run_command("char_lm", [*OPTIONS, "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out == ""
    assert not (tmp_path / "result.json").exists()


@pytest.mark.parametrize(
    "options, sentence",
    [
        (["--process-id", "0"], "belong together; got None, None and 0"),
        (["--coordinator", "a:1", "--cluster"], "give either --cluster, or --coordinator"),
        (
            ["--coordinator", "a:1", "--num-processes", "2", "--process-id", "2"],
            "--process-id is 2, expected 0 to 1",
        ),
    ],
)
def test_options_that_contradict_each_other_are_errors(
    options: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command("char_lm", [*OPTIONS, "--out", str(tmp_path / "out"), *options]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
