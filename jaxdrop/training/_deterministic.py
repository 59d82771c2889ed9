"""Deterministic kernels on a GPU: what fit and sweep compile their programs with.

By default XLA times several kernels for a product (autotuning) and takes the fastest, which may be
another one in the next run, and adds into an array in the order in which threads arrive. With
``xla_gpu_deterministic_ops`` it takes the first kernel that compiles, times none, and has an order
for every sum. It is a flag of the process, or an option of a single program.

With nothing timed, XLA has no setting for some of its own kernels for products (Triton), and the
newest ends there: "No supported config found". So products go to cuBLAS, whose bits repeat.
"""

import os

import jax

OPTION, TRITON = "xla_gpu_deterministic_ops", "xla_gpu_enable_triton_gemm"


def compiler_options() -> dict[str, bool] | None:
    """Return ``compiler_options`` for ``jax.jit``: on a GPU deterministic kernels, else None.

    A process that was started with ``XLA_FLAGS=--xla_gpu_deterministic_ops=false`` has said that it
    wants the fast ones. Only the outermost jit takes options.
    """
    if jax.default_backend() != "gpu" or said_in_xla_flags() is False:
        return None
    return {OPTION: True, TRITON: said_in_xla_flags(TRITON) or False}


def said_in_xla_flags(flag: str = OPTION) -> bool | None:
    """Return what ``XLA_FLAGS`` says of a flag that is on or off; None if it says nothing."""
    said = None
    for word in os.environ.get("XLA_FLAGS", "").split():
        name, _, value = word.partition("=")
        if name == f"--{flag}":  # as in XLA, the last one counts
            said = value.lower() in ("", "true", "1")
    return said
