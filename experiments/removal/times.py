"""The time of training steps, measured side by side."""

import time
from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeVar

import jax
import numpy as np

Name = TypeVar("Name", bound=Hashable)


class Step:
    """A training step with its state: each call takes one more."""

    def __init__(self, step: Callable[[Any, Any], tuple[Any, Any]], state: Any, batch: Any):
        self.step, self.state, self.batch = step, state, batch

    def __call__(self) -> float:
        """Take a step; return its seconds."""
        begun = time.perf_counter()
        self.state, _ = jax.block_until_ready(self.step(self.state, self.batch))
        return time.perf_counter() - begun


def step_times(steps: Mapping[Name, Step], turns: int) -> dict[Name, float]:
    """Return the median milliseconds of each step; they take turns, after two to warm up."""
    taken: dict[Name, list[float]] = {name: [] for name in steps}
    for _ in range(2 + turns):
        for name, step in steps.items():
            taken[name].append(step())
    return {name: 1e3 * float(np.median(seconds[2:])) for name, seconds in taken.items()}
