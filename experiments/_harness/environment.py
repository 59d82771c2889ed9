"""Where a run ran: versions, machine, device, flags and commit."""

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import jax

import jaxdrop
from experiments._harness.accelerator import fast_kernels, nvidia_driver

PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy")
LIBRARIES = ("jax-cuda", "nvidia-cublas", "nvidia-cudnn", "nvidia-nccl", "libtpu")


def environment() -> dict[str, Any]:
    """Name all that the bits may depend on: versions, machine, device, flags; the commit, if any.

    What only a GPU or TPU has is left out on a CPU.
    """
    device, backend = jax.devices()[0], jax.default_backend()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "jaxdrop": jaxdrop.__version__,
        **{name: importlib.metadata.version(name) for name in PACKAGES},
        **({} if backend == "cpu" else _libraries()),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "device": f"{jax.device_count()} x {device.device_kind}",
        **({"driver": nvidia_driver()} if backend == "gpu" else {}),
        "processor": _processor(),
        "cores": cores,
        "xla_flags": flags_that_count(os.environ.get("XLA_FLAGS", ""), backend),
        "matmul_precision": _matmul_precision(),
        "fast_kernels": fast_kernels(),
        "commit": _commit(),
    }


def flags_that_count(flags: str, backend: str) -> str:
    """Return the flags of XLA that bits may depend on, in order of their names.

    Left out are those about dumps, the number of devices, which ``device`` says, and those of other
    backends. Of two flags with one name the last one counts.
    """
    others = {"cpu", "gpu", "tpu"} - {backend}
    idle = ("xla_dump_", "xla_force_host_", *(f"xla_{other}_" for other in others))
    named = {word.lstrip("-").partition("=")[0]: word for word in flags.split()}
    return " ".join(word for name, word in sorted(named.items()) if not name.startswith(idle))


def _libraries() -> dict[str, str]:
    """Return the versions of the libraries that compute on a GPU or TPU, as far as pip has them."""
    found = {d.name.lower(): d.version for d in importlib.metadata.distributions()}
    return {name: found[name] for name in sorted(found) if name.startswith(LIBRARIES)}


def _matmul_precision() -> str:
    config: Any = jax.config  # jax adds its options when it is imported, undeclared
    return config.jax_default_matmul_precision or "default"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().partition("\n\n")[0].splitlines()
    except OSError:  # not Linux
        return platform.processor()
    facts = {name.strip(): value.strip() for name, _, value in (x.partition(":") for x in lines)}
    if "model name" not in facts:
        return platform.processor()
    # A cloud calls all of its generations by one name, and they do not round alike.
    kind = [f"{name} {facts[name]}" for name in ("cpu family", "model") if name in facts]
    return ", ".join([facts["model name"], *kind])


def _commit() -> str | None:
    root = Path(__file__).parents[2]
    ask = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--match="]
    try:
        answer = subprocess.run(ask, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() or None if answer.returncode == 0 else None
