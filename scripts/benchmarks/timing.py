"""Time functions side by side: a few calls of each in turn, medians, after warm-up."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Calls = Mapping[str, Callable[..., Any]]
TURN = 3e-3  # seconds of calls in a row, so that waking the threads up is not what is timed


def into_buffer(call: Callable[..., Any]) -> Callable[..., Any]:
    """Jit ``call`` with one more argument, a buffer that is donated and becomes the result.

    In a compiled training step an activation gets memory that is already there. A call of its own
    would ask the operating system for fresh pages, which for large arrays takes longer than a copy.
    """
    return jax.jit(lambda buffer, *arguments: call(*arguments), donate_argnums=0, keep_unused=True)


def into_new_memory(call: Callable[..., Any]) -> Callable[..., Any]:
    """Jit ``call`` to be timed like ``into_buffer``, its result in newly allocated memory."""
    return jax.jit(lambda buffer, *arguments: call(*arguments))


def medians(
    calls: Calls,
    inputs: Sequence[tuple[Any, ...]],
    buffer: jax.Array,
    *,
    seconds: float,
    least: int = 7,
) -> dict[str, float]:
    """Return the median seconds of a call for each function made by one of the above.

    The functions take turns, so that what disturbs the machine disturbs all of them. Inputs
    alternate, and results alternate between two buffers, as the activations of a step do. A
    function returns the array that took the buffer, or (value, array).
    """
    count: dict[str, int] = {}
    pair = {name: [jnp.copy(buffer), jnp.copy(buffer)] for name in calls}

    def turn(name: str, times: int) -> float:
        start = time.perf_counter()
        for i in range(times):
            result = calls[name](pair[name][i % 2], *inputs[i % len(inputs)])
            pair[name][i % 2] = result[1] if isinstance(result, tuple) else result
        jax.block_until_ready(pair[name])
        return (time.perf_counter() - start) / times

    for name in calls:
        turn(name, 2)
        count[name] = 2 * math.ceil(TURN / turn(name, 2) / 2)
    taken: dict[str, list[float]] = {name: [] for name in calls}
    stop = time.perf_counter() + seconds
    while len(taken[name]) < least or time.perf_counter() < stop:
        for name in calls:
            taken[name].append(turn(name, count[name]))
    return {name: float(np.median(t)) for name, t in taken.items()}
