"""Time functions side by side: one call of each in turn, medians, after warm-up."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

Calls = Mapping[str, Callable[..., Any]]


def medians(
    calls: Calls, inputs: Sequence[tuple[Any, ...]], *, seconds: float, least: int = 7
) -> dict[str, float]:
    """Return the median seconds of a call for each function.

    The functions take turns, so that what disturbs the machine disturbs all of them. Inputs are
    taken in turn too, and each result is kept until the next one is there, so that both alternate
    between buffers as the activations of a training step do. What remains of memory allocation is
    the allocator's reuse of the buffer freed one turn ago; it enters every function alike.
    """
    for call in calls.values():
        jax.block_until_ready(call(*inputs[0]))
    times: dict[str, list[float]] = {name: [] for name in calls}
    kept: dict[str, Any] = {}
    stop = time.perf_counter() + seconds
    turn = 0
    while turn < least or time.perf_counter() < stop:
        arguments = inputs[turn % len(inputs)]
        for name, call in calls.items():
            start = time.perf_counter()
            result = jax.block_until_ready(call(*arguments))
            times[name].append(time.perf_counter() - start)
            kept[name] = result
        turn += 1
    return {name: float(np.median(t)) for name, t in times.items()}
