"""The GPU that is here: whether jax uses it, its driver, and whether its runs repeat."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import jax

from jaxdrop.training._deterministic import said_in_xla_flags

NVIDIA = Path("/proc/driver/nvidia/version")


def nvidia_driver() -> str | None:
    """Return the version of the NVIDIA driver here, found as ``scripts/_env`` does; None without.

    A driver that does not tell its version is "unknown".
    """
    try:
        found = re.search(r"^NVRM.* (\d+\.[\d.]+) ", NVIDIA.read_text(), re.MULTILINE)
        return found[1] if found else "unknown"
    except OSError:  # not here, or not there: WSL has nvidia-smi alone
        pass
    if not shutil.which("nvidia-smi"):
        return None
    ask = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(ask, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return (answer.stdout.strip() or "unknown").splitlines()[0] if answer.returncode == 0 else None


def unused_gpu() -> str | None:
    """Return one line that says what to do if a GPU is here and jax runs on the CPU; else None."""
    if jax.default_backend() != "cpu" or nvidia_driver() is None:
        return None
    for name in ("JAX_PLATFORMS", "JAXDROP_ACCELERATOR"):
        if chosen := os.environ.get(name):
            way_out = f"{name}={chosen} says so: unset {name}, and type the command again"
            break
    else:
        way_out = 'type  .venv/bin/python -m pip install "jax[cuda13]"  (or cuda12)'
    return f"A GPU is here, and jax does not use it. To change that: {way_out}."


def fast_kernels() -> bool:
    """Say whether this process has left a GPU its fast kernels, whose bits may not repeat."""
    return jax.default_backend() == "gpu" and not said_in_xla_flags()


def repeats() -> str:
    """Say whether a run on this backend has the same bits when it is run again."""
    backend = jax.default_backend()
    if backend == "cpu":
        return "yes, with these versions on this kind of processor"
    if fast_kernels():
        return "not asked for: XLA_FLAGS turns deterministic kernels off"
    return f"{'asked for, but ' if backend == 'gpu' else ''}not run on a device yet"
