"""Deterministic kernels on a GPU, for everything that a command computes. Imports no jax.

XLA reads its flags when jax starts, so they are set before anything imports it. The flags are
known to every XLA; on a CPU or a TPU they change nothing.
"""

import os
from collections.abc import Sequence
from pathlib import Path

FLAG = "--xla_gpu_deterministic_ops"
DEFAULT = f"{FLAG}=true --xla_gpu_enable_triton_gemm=false"  # see training/_deterministic


def choose_kernels(argv: Sequence[str]) -> None:
    """Ask for deterministic kernels, or for fast ones if ``--fast-kernels`` was typed.

    What the caller has in ``XLA_FLAGS`` comes after the default, and counts; what was typed comes
    after that. There the last flag of a name counts.
    """
    own = os.environ.get("XLA_FLAGS", "").strip()
    if own and not own.startswith("-"):  # as XLA does: the name of a file with flags
        own = Path(own).read_text(encoding="utf-8")
    fast = any(word.replace("_", "-") == "--fast-kernels" for word in argv)
    flags = [own, f"{FLAG}=false"] if fast else [DEFAULT, own]
    os.environ["XLA_FLAGS"] = " ".join(flags).strip()
