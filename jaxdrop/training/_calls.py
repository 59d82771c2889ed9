"""What fit hands to the device at a time: one step and its batch, or several steps and their rows.

For small steps on a fast device, copying a batch and starting a program takes longer than the step.
With several steps in a call, data in memory lie on the device, which gathers each batch itself.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from jaxdrop.training._dataset import Dataset
from jaxdrop.training._donating_step import DonatingStep
from jaxdrop.training._mesh import compile_step
from jaxdrop.training._metrics import check_step_metrics
from jaxdrop.training._place_rows import (
    batch_shapes,
    place_batch,
    place_numbers,
    place_whole,
    take_rows,
)

Call = Callable[[Any, np.ndarray], tuple[Any, dict[str, jax.Array]]]


def make_call(
    step: Callable[..., Any], state: Any, rows: Dataset, mesh: Mesh | None, batch: int, most: int
) -> Call:
    """Return ``call(state, numbers) -> (state, metrics)`` for the rows of some steps.

    Args:
      step: ``(state, batch) -> (state, metrics)``, not compiled. Metrics are checked here.
      state: as the first call gets it.
      rows, mesh, batch: the data, where they are trained on, and how many rows make a step.
      most: steps in a call. With 1 the host gathers the batch, and metrics are scalars. With more
        they are arrays with one number for each step; arrays are copied to the device, or to each
        of the mesh, as a whole, and the rows of a source are read for the whole call.
    """
    one = compile_step(DonatingStep(step), state, mesh)
    check_step_metrics(one, state, batch_shapes(rows, batch, mesh), mesh)
    if most == 1:
        return lambda state, numbers: one(state, place_batch(rows, numbers[0], mesh))
    if rows.arrays is None:
        several = compile_step(DonatingStep(_in_a_loop(step, lambda _, x: x)), state, mesh)
        return lambda state, numbers: several(state, ((), place_batch(rows, numbers, mesh)))
    data = place_whole(rows.arrays, state, mesh)
    gather = functools.partial(take_rows, mesh=mesh)
    several = compile_step(DonatingStep(_in_a_loop(step, gather)), state, mesh)
    return lambda state, numbers: several(state, (data, place_numbers(numbers, mesh)))


def _in_a_loop(step: Callable[..., Any], batch_of: Callable[[Any, Any], Any]) -> Any:
    """Return ``several(state, (data, xs))``, a step for each x, on ``batch_of(data, x)``."""

    def several(state: Any, given: Any) -> Any:
        data, xs = given

        def one(state: Any, x: Any) -> Any:
            # Behind a barrier the step is compiled as it is alone, not fused with the gather.
            return step(state, jax.lax.optimization_barrier(batch_of(data, x)))

        return jax.lax.scan(one, state, xs)

    return several
