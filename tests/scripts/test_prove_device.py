"""scripts/prove device: its rehearsal on the CPU, what a hang or crash costs, and its pages."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from scripts.benchmarks.__main__ import SUITES
from scripts.proofs import report
from scripts.proofs.device import __main__ as command
from scripts.proofs.device import benches, bits, memory, page
from scripts.proofs.device.piece import PIECES, Piece, Size
from scripts.proofs.device.store import FOLDER, Store, stored
from tests.scripts.checkout import Checkout

ROOT = Path(__file__).parents[2]
ABOUT = {"kind": "NVIDIA H200", "backend": "gpu", "device": "1 x NVIDIA H200"}
# What has to hold on any device. The others are about times, or about the compiler of a GPU.
EXACT = {"bits", "guarantees", "memory", "kills", "processes", "quickstart"}


def prove(folder: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "scripts.proofs.device", "--rehearse", str(folder)],
        cwd=ROOT,
        env=os.environ
        | {
            "JAX_PLATFORMS": "cpu",
            # As the tests compile; two devices, for what is split.
            "XLA_FLAGS": os.environ["XLA_FLAGS"] + " --xla_force_host_platform_device_count=2",
        },
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
def test_every_piece_is_rehearsed(tmp_path: Path) -> None:
    done = prove(tmp_path)
    assert f"stored: {tmp_path}/cpu.json" in done.stdout, done.stdout + done.stderr
    (device,) = stored(tmp_path)
    outcomes = device["pieces"]
    assert list(outcomes) == [piece.name for piece in PIECES]
    for name, outcome in outcomes.items():
        assert outcome["state"] == "done", (name, outcome)
        assert outcome["checks"] or outcome["tables"], name
        if name in EXACT:
            assert outcome["checks"] and all(row["holds"] for row in outcome["checks"]), outcome
    assert outcomes["programs"]["tables"]["Split over devices"][0]["sent"] == "nothing"
    assert all(f"## {piece.name}" in (tmp_path / "cpu.md").read_text() for piece in PIECES)
    assert_not_run((tmp_path / "README.md").read_text(), 2)
    again = prove(tmp_path)
    assert again.returncode == 0 and f"0 of {len(PIECES)} pieces" in again.stdout, again.stdout


def assert_not_run(text: str, columns: int) -> None:
    """The last columns of every line say that no such device has run it."""
    rows = [line for line in text.splitlines() if line.startswith("| ")][2:]
    assert len(rows) == len(PIECES)
    for row in rows:
        for said in row.strip("| ").split(" | ")[-columns:]:
            assert said == "not run" or said.startswith("not possible: a TPU"), row


def test_the_pages_are_what_the_results_say() -> None:
    """To write them anew: .venv/bin/python -m scripts.proofs.device.page"""
    devices = stored()
    text = (FOLDER / "README.md").read_text()
    assert text == page.readme(devices)
    for device in devices:
        name = page.file_name(device["device"])
        assert (FOLDER / f"{name}.md").read_text() == page.details(device)
    assert not any(device["backend"] == "cpu" for device in devices)
    absent = set(page.BACKENDS) - {device["backend"] for device in devices}
    if absent:
        assert_not_run(text, len(absent))


def test_a_page_says_what_holds_and_what_does_not(tmp_path: Path) -> None:
    store = Store(tmp_path, "NVIDIA H200", "gpu")
    rows = [{"claim": name, "holds": name == "a", "found": 2} for name in ("a", "b")]
    done = {"state": "done", "checks": rows, "tables": {}, "seconds": 1, "where": {"driver": "580"}}
    store.keep("bits", done)
    store.keep("core", {"state": "failed", "why": "took longer than 150 s"})
    store.keep("quickstart", {"state": "not run", "why": "needs tyro"})
    page.write(tmp_path)
    lines = (tmp_path / "README.md").read_text().splitlines()
    (head,) = [line for line in lines if "[NVIDIA H200](nvidia-h200.md)" in line]
    assert head.endswith("| a TPU |")
    said = {line.split(" | ")[1]: line.split(" | ")[2] for line in lines if line.count(" | ") == 3}
    assert said["bits"] == "**1 of 2 do not hold**"
    assert said["core"] == "failed: took longer than 150 s"
    assert said["quickstart"] == "not run: needs tyro" and said["memory"] == "not run"
    assert "| b | **NO** | 2 |" in (tmp_path / "nvidia-h200.md").read_text()
    assert Store(tmp_path, "NVIDIA H200", "gpu").done("bits")
    assert not Store(tmp_path, "NVIDIA H200", "gpu").done("core")


@pytest.mark.slow
def test_what_hangs_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    with tempfile.TemporaryFile() as log:
        assert command.start(["sh", "-c", "sleep 600 & echo $! && wait"], 1, log) is None
        (number,) = command.said(log)
        assert command.start(["sh", "-c", "exit 3"], 60, log) == 3
    for _ in range(100):
        if not Path(f"/proc/{number}/status").exists():
            break
        if "State:\tZ" in Path(f"/proc/{number}/status").read_text():
            break
        time.sleep(0.05)
    else:
        pytest.fail("its child still runs")


@pytest.mark.slow
def test_a_piece_that_fails_says_why() -> None:
    absent = [Piece(name, "", "", 1, ()) for name in ("absent", "next")]
    first, second = command.outcomes(absent, ABOUT, True, 60).values()
    assert first["state"] == second["state"] == "failed"
    assert first["why"].startswith("exit code 2: ") and "absent" in first["why"]
    assert second["why"] == "not reached"
    (outcome,) = command.outcomes([PIECES[0]], ABOUT, True, 0.01).values()
    assert (outcome["state"], outcome["why"]) == ("failed", "took longer than 0.01 s")


def test_a_piece_without_its_packages_is_not_run() -> None:
    piece = Piece("bits", "", "", 1, ("jax", "no_such_package"))
    outcome = command.outcomes([piece], ABOUT, True, 60)
    assert outcome == {"bits": {"state": "not run", "why": "needs no_such_package"}}
    alone = Piece("processes", "", "", 1, (), tpu=False)
    outcome = command.outcomes([alone], ABOUT | {"backend": "tpu"}, True, 60)
    assert outcome == {"processes": {"state": "not run", "why": "a TPU belongs to one process"}}


def test_it_goes_on_with_what_is_left_and_stops_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    begun, crashes = [], {"guarantees"}

    def outcomes(pieces: list[Piece], about: Any, small: bool, limit: float) -> dict[str, Any]:
        (piece,) = pieces
        begun.append(piece.name)
        assert limit <= 3 * piece.seconds
        if piece.name in crashes:
            return {piece.name: {"state": "failed", "why": "crashed"}}
        done = {"state": "done", "checks": [], "tables": {}, "seconds": 1, "where": {}}
        return {piece.name: done}

    monkeypatch.setattr(command, "outcomes", outcomes)
    monkeypatch.setattr(command, "look", lambda: ABOUT)
    monkeypatch.setattr(command, "FOLDER", tmp_path)
    monkeypatch.setattr(sys, "argv", ["prove"])
    monkeypatch.setattr(command, "MINUTES", 2)  # 110 s: enough for each piece, not for the day
    moments = iter(range(0, 10**6, 12))  # each look at the clock is 12 s later
    monkeypatch.setattr(command.time, "monotonic", lambda: next(moments))
    names = [piece.name for piece in PIECES]
    assert command.main() == 1
    assert begun == names[: len(begun)] and len(begun) < len(names)
    assert f"Left: {', '.join(names[len(begun) :])}" in capsys.readouterr().out
    crashes.clear()
    first = begun.copy()
    for _ in range(5):
        if command.main() == 0:
            break
    assert sorted(begun) == sorted([*names, "guarantees"]) and begun[len(first)] == "guarantees"
    monkeypatch.setattr(sys, "argv", ["prove", "--only", "bits"])
    assert command.main() == 0 and begun[-1] == "bits"


def test_no_device_no_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "look", lambda: ABOUT | {"backend": "cpu"})
    monkeypatch.setattr(command, "FOLDER", tmp_path)
    monkeypatch.setattr(sys, "argv", ["prove"])
    assert command.main() == 1
    assert "No GPU and no TPU" in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_other_bits_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("random_bits, 1000", "random_bits, 7 x 11 x 13")
    drawn = {name: draw for name, draw in bits.cases().items() if name in names}
    monkeypatch.setattr(bits, "cases", lambda: drawn)
    assert all(row["holds"] for row in bits.run(Size(True, "cpu"))["checks"])
    drawn[names[0]] = lambda: bits.jaxdrop.random_bits(bits.jax.random.key(2015), (1000,))
    assert [row["holds"] for row in bits.run(Size(True, "cpu"))["checks"]] == [False, True]


def test_the_stored_digests_are_of_these_cases() -> None:
    assert set(json.loads(bits.GOLDEN.read_text())) == set(bits.cases())


@pytest.mark.parametrize(
    ("changed", "broken"),
    [({}, []), ({"mask buffers": 1}, [0]), ({"peak MiB": 103.0}, [1]), ({"peak MiB": "no"}, [])],
)
def test_a_mask_in_memory_is_seen(changed: dict[str, Any], broken: list[int]) -> None:
    none = {"layers": "scanned", "dropout": "none", "peak MiB": 100.0, "temporary MiB": 50.0}
    ours = none | {"dropout": "jaxdrop", "peak MiB": 101.0, "mask buffers": 0} | changed
    checks = report.Checks()
    memory.claims([none, ours], checks)
    assert [i for i, row in enumerate(checks.rows) if not row["holds"]] == broken


def test_bandwidth_is_a_share_of_the_fastest_copy() -> None:
    slow, fast = (
        {
            "mode": mode,
            "dtype": dtype,
            "shape": [1000, 1000],
            "copy_ms": 0.004,
            "times_a_copy": {"copy": 1.0} | dict.fromkeys(benches.SHOWN, times),
        }
        for mode, dtype, times in (("forward", "bfloat16", 1.25), ("train", "float32", 2.0))
    )
    first, second = benches.bandwidths([slow, fast])
    assert (first["copy, GB/s"], first["jaxdrop, GB/s"]) == (1000, 800)
    assert (second["copy, GB/s"], second["jaxdrop, GB/s"]) == (3000, 1500)
    assert first["share of the fastest copy"] == "27%"
    assert second["share of the fastest copy"] == "50%"


def test_every_benchmark_that_a_device_answers_is_a_piece() -> None:
    """forms is about CPUs; training (but for its sweeps) and mc are not asked of a device."""
    pieces = {piece.name for piece in PIECES}
    assert set(SUITES) - pieces == {"forms", "imports", "training", "mc"}


@pytest.mark.slow
def test_the_script_takes_the_python_that_sees_a_device(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path, "3.12.1")
    done, asked = checkout.run("device", "--only", "bits", script="scripts/prove")
    expected = ["run -P -m scripts.proofs.device --only bits"]
    assert (done.returncode, asked) == (0, expected), done.stderr
    assert not (checkout.root / ".venv").exists()
    done, asked = checkout.run("device", "--rehearse", "here", script="scripts/prove")
    expected = ["venv", "install", "run -P -m scripts.proofs.device --rehearse here"]
    assert (done.returncode, asked) == (0, expected), done.stderr
    for place in (checkout.bin / "python3", checkout.root / ".venv" / "bin" / "python"):
        checkout.program(str(place), "#!/bin/sh\nexit 1\n")
    done, asked = checkout.run("device", script="scripts/prove")
    assert (done.returncode, asked) == (1, [])
    assert "no GPU and no TPU" in done.stderr and "JAXDROP_PYTHON=" in done.stderr
