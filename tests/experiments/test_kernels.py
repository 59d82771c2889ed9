"""Deterministic kernels: asked for before jax starts, turned off by --fast-kernels, recorded."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from experiments._commands import reproduce
from experiments._harness import accelerator
from experiments._harness.command import run_command
from experiments._harness.environment import environment, flags_that_count
from experiments._harness.kernels import DEFAULT, FLAG, choose_kernels
from jaxdrop.training._deterministic import OPTION, TRITON, compiler_options, said_in_xla_flags
from tests.scripts.checkout import ROOT


@pytest.fixture(autouse=True, scope="module")
def started() -> None:
    """jax has read its flags, and reads none of those that the tests set."""
    jax.devices()


@pytest.mark.parametrize(
    ("own", "argv", "flags", "said"),
    [
        ("", [], DEFAULT, True),
        ("--a --b=2", ["--seed", "3"], f"{DEFAULT} --a --b=2", True),
        (f"{FLAG}=false", [], f"{DEFAULT} {FLAG}=false", False),
        ("", ["--fast-kernels"], f"{FLAG}=false", False),
        (f"{FLAG}=true", ["--seed", "3", "--fast_kernels"], f"{FLAG}=true {FLAG}=false", False),
    ],
)
def test_the_default_comes_first_and_what_was_typed_last(
    own: str, argv: list[str], flags: str, said: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XLA_FLAGS", own)
    choose_kernels(argv)
    assert os.environ["XLA_FLAGS"] == flags
    assert said_in_xla_flags() is said


def test_flags_in_a_file_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "flags").write_text("--a\n--b=2\n")
    monkeypatch.setenv("XLA_FLAGS", str(tmp_path / "flags"))
    choose_kernels([])
    assert os.environ["XLA_FLAGS"].split() == [*DEFAULT.split(), "--a", "--b=2"]


def test_there_may_be_no_flags_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XLA_FLAGS")
    assert said_in_xla_flags() is None
    choose_kernels([])
    assert os.environ["XLA_FLAGS"] == DEFAULT == f"--{OPTION}=true --{TRITON}=false"


@pytest.mark.parametrize(
    ("flags", "backend", "fast", "word"),
    [
        (f"{FLAG}=true", "gpu", False, "asked for, but not run"),
        (f"{FLAG}=false", "gpu", True, "not asked for"),
        (f"{FLAG}=true {FLAG}=false", "gpu", True, "not asked for"),
        ("", "gpu", True, "not asked for"),
        (f"{FLAG}=false", "cpu", False, "yes"),
        (f"{FLAG}=true", "tpu", False, "not run on a device"),
    ],
)
def test_devices_result_and_fit_agree(
    flags: str, backend: str, fast: bool, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XLA_FLAGS", flags)
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    assert accelerator.fast_kernels() is fast
    assert accelerator.repeats().startswith(word)
    if flags:
        assert (compiler_options() is not None) is (backend == "gpu" and not fast)


def test_flags_that_change_no_bits_are_left_out() -> None:
    flags = (
        f"--xla_dump_to=/x {FLAG}=true --xla_cpu_b=2 --xla_cpu_a=1 --xla_cpu_b=3 "
        "--xla_force_host_platform_device_count=8 --xla_allow_excess_precision=false"
    )
    assert flags_that_count("", "cpu") == ""
    assert flags_that_count(f"{FLAG}=true", "cpu") == ""
    both = "--xla_allow_excess_precision=false"
    assert flags_that_count(flags, "cpu") == f"{both} --xla_cpu_a=1 --xla_cpu_b=3"
    assert flags_that_count(flags, "gpu") == f"{both} {FLAG}=true"
    assert flags_that_count(flags, "tpu") == both


def test_the_environment_names_precision_and_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("experiments._harness.environment._commit", lambda: "abc")  # git's
    monkeypatch.setenv("XLA_FLAGS", f"{FLAG}=true --xla_cpu_a=1")
    here = environment()
    assert (here["matmul_precision"], here["fast_kernels"]) == ("default", False)
    assert here["xla_flags"] == "--xla_cpu_a=1" and "driver" not in here
    with jax.default_matmul_precision("float32"):
        assert environment()["matmul_precision"] == "float32"


def test_the_environment_of_a_gpu_names_its_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("experiments._harness.environment._commit", lambda: "abc")
    monkeypatch.setattr("experiments._harness.environment.nvidia_driver", lambda: "580.65.06")
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setenv("XLA_FLAGS", f"{FLAG}=false --xla_cpu_a=1")
    here = environment()
    assert (here["driver"], here["xla_flags"]) == ("580.65.06", f"{FLAG}=false")
    assert here["fast_kernels"] is True


@pytest.mark.parametrize(
    ("text", "version"),
    [
        (
            "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 2023\n"
            "GCC version:  gcc version 11.4.0 (Ubuntu 11.4.0-1ubuntu1~22.04)\n",
            "535.104.05",
        ),
        (
            "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build\n",
            "580.65.06",
        ),
        ("something else\n", "unknown"),
    ],
)
def test_the_driver_tells_its_version(
    text: str, version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "version").write_text(text)
    monkeypatch.setattr(accelerator, "NVIDIA", tmp_path / "version")
    assert accelerator.nvidia_driver() == version


def test_without_a_driver_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerator, "NVIDIA", tmp_path / "version")
    monkeypatch.setattr(accelerator.shutil, "which", lambda name: None)
    assert accelerator.nvidia_driver() is None


def run(code: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    env = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    return subprocess.run(
        [sys.executable, "-c", code],
        env=env | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"} | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.slow
def test_a_command_sets_flags_that_xla_knows_before_jax_is_imported() -> None:
    done = run(
        """
import os, sys
from experiments import __main__ as command

def choose(argv, choose=command.choose_kernels):
    assert "jax" not in sys.modules
    choose(argv)

command.choose_kernels = choose
code = command.main(["devices"])  # starts jax
print(os.environ["XLA_FLAGS"])
raise SystemExit(code)
"""
    )
    assert done.returncode == 0 and done.stdout.endswith(f"{DEFAULT}\n"), done.stderr


@pytest.mark.slow
def test_xla_takes_the_last_flag_and_ends_a_process_with_one_it_does_not_know() -> None:
    code = "import jax; jax.numpy.ones(3)"
    assert run(code, XLA_FLAGS=f"{FLAG}=true {FLAG}=false {FLAG}").returncode == 0
    unknown = run(code, XLA_FLAGS="--xla_gpu_no_such_ops=true")
    assert unknown.returncode and "Unknown flag" in unknown.stderr


@pytest.mark.parametrize("name", ["schedules", "char_lm"])
def test_an_experiment_knows_the_option(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        run_command(name, ["--help"])
    assert end.value.code == 0 and "--fast-kernels" in capsys.readouterr().out
    assert run_command(name, ["--fast-kernels", "--seed", "-1"]) == 2
    assert "--seed is -1" in capsys.readouterr().err


def test_reproduce_knows_the_option(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert reproduce.main([str(tmp_path / "none.json"), "--fast-kernels"]) == 2
    assert "none.json cannot be read" in capsys.readouterr().err
