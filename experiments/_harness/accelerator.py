"""A GPU that is here and that jax does not use."""

import os
import shutil
import subprocess
from pathlib import Path

import jax

NVIDIA = Path("/proc/driver/nvidia/version")
DETERMINISTIC = "--xla_gpu_deterministic_ops=true"


def has_nvidia_driver() -> bool:
    """Say whether the driver of an NVIDIA GPU is here, as ``scripts/_env`` looks for it."""
    if NVIDIA.exists():
        return True
    if not shutil.which("nvidia-smi"):
        return False
    ask = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(ask, capture_output=True, timeout=30).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def unused_gpu() -> str | None:
    """Return one line that says what to do if a GPU is here and jax runs on the CPU; else None."""
    if jax.default_backend() != "cpu" or not has_nvidia_driver():
        return None
    for name in ("JAX_PLATFORMS", "JAXDROP_ACCELERATOR"):
        if chosen := os.environ.get(name):
            way_out = f"{name}={chosen} says so: unset {name}, and type the command again"
            break
    else:
        way_out = 'type  .venv/bin/python -m pip install "jax[cuda13]"  (or cuda12)'
    return f"A GPU is here, and jax does not use it. To change that: {way_out}."


def repeats() -> str:
    """Say whether a run on this backend has the same bits when it is run again."""
    backend = jax.default_backend()
    if backend == "cpu":
        return "yes, with these versions on this kind of processor"
    if backend == "gpu" and DETERMINISTIC not in os.environ.get("XLA_FLAGS", ""):
        return f"not asked for: set XLA_FLAGS={DETERMINISTIC}"
    return "asked for, and not measured on a device yet"
