"""Deterministic kernels on a GPU: what fit and sweep compile their programs with.

By default XLA times several kernels for a product (autotuning) and takes the fastest, which may be
another one in the next run, and adds into an array in the order in which threads arrive. With
``xla_gpu_deterministic_ops`` it takes the first kernel that compiles, times none, and has an order
for every sum. It is a flag of the process, or an option of a single program.
"""

import os

import jax

OPTION = "xla_gpu_deterministic_ops"


def compiler_options() -> dict[str, bool] | None:
    """Return ``compiler_options`` for ``jax.jit``: on a GPU deterministic kernels, else None.

    A process that was started with ``XLA_FLAGS=--xla_gpu_deterministic_ops=false`` has said that it
    wants the fast ones. Only the outermost jit takes options.
    """
    if jax.default_backend() != "gpu" or said_in_xla_flags() is False:
        return None
    return {OPTION: True}


def said_in_xla_flags() -> bool | None:
    """Return whether ``XLA_FLAGS`` asks for deterministic kernels; None if it says nothing."""
    said = None
    for word in os.environ.get("XLA_FLAGS", "").split():
        name, _, value = word.partition("=")
        if name == f"--{OPTION}":  # as in XLA, the last one counts
            said = value.lower() in ("", "true", "1")
    return said
