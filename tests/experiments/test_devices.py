"""scripts/run devices, and the line about a GPU that is here and unused."""

from pathlib import Path

import pytest

from experiments._commands import devices
from experiments._harness import accelerator, environment
from experiments._harness.command import run_command


@pytest.fixture(autouse=True)
def no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "_commit", lambda: "abc")  # git's


def test_devices_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert devices.main([]) == 0
    said = capsys.readouterr()
    for word in ("backend", "device 7", "jaxlib", "the same bits again", "yes"):
        assert word in said.out
    assert said.err == "" or accelerator.nvidia_driver()


@pytest.mark.parametrize(
    ("settings", "way_out"),
    [
        ({}, 'pip install "jax[cuda13]"'),
        ({"JAX_PLATFORMS": "cpu"}, "JAX_PLATFORMS=cpu says so: unset JAX_PLATFORMS"),
        ({"JAXDROP_ACCELERATOR": "cpu"}, "JAXDROP_ACCELERATOR=cpu says so"),
    ],
)
def test_an_unused_gpu_gets_one_line(
    settings: dict[str, str],
    way_out: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("JAX_PLATFORMS", "JAXDROP_ACCELERATOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(accelerator, "nvidia_driver", lambda: "580.65.06")
    assert devices.main([]) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("A GPU is here, and jax does not use it.") and way_out in line


def test_no_gpu_no_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerator, "nvidia_driver", lambda: None)
    assert accelerator.unused_gpu() is None


@pytest.mark.slow
def test_every_experiment_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(accelerator, "nvidia_driver", lambda: "580.65.06")
    small = ["--seeds", "1", "--epochs", "1", "--out", str(tmp_path / "out")]
    assert run_command("schedules", small) == 0
    assert "A GPU is here, and jax does not use it." in capsys.readouterr().err
