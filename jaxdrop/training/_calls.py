"""What fit hands to the device at a time: one step and its batch, or several steps and the rows.

For small steps on a fast device, copying a batch and starting a program takes longer than the step.
With several steps in a call the data lie on the device, which gathers each batch itself.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from jaxdrop.training._dataset import Dataset
from jaxdrop.training._donating_step import DonatingStep
from jaxdrop.training._mesh import batch_shapes, compile_step, place_batch
from jaxdrop.training._metrics import check_step_metrics

Call = Callable[[Any, np.ndarray], tuple[Any, dict[str, jax.Array]]]


def make_call(
    step: Callable[..., Any], state: Any, rows: Dataset, mesh: Mesh | None, batch: int, most: int
) -> Call:
    """Return ``call(state, numbers) -> (state, metrics)`` for the rows of some steps.

    Args:
      step: ``(state, batch) -> (state, metrics)``, not compiled. Metrics are checked here.
      state: as the first call gets it.
      rows, mesh, batch: the data, where they are trained on, and how many rows make a step.
      most: steps in a call. With 1 the host gathers the batch, and metrics are scalars; with more
        they are arrays with one number for each step.

    Raises:
      ValueError: for several steps of rows that are no arrays, or on a mesh.
    """
    if most > 1 and mesh is not None:
        raise ValueError(
            f"got steps_per_call={most} and a mesh, on which the host gives each device its rows: "
            "leave one of the two out"
        )
    if most > 1 and rows.arrays is None:
        raise ValueError(
            f"got steps_per_call={most} and data that are read by number, expected arrays, which "
            "are copied to the device as a whole; leave steps_per_call out"
        )
    one = compile_step(DonatingStep(step), state, mesh)
    check_step_metrics(one, state, batch_shapes(rows, batch, mesh), mesh)
    if most == 1:
        return lambda state, numbers: one(state, place_batch(rows, numbers[0], mesh))
    data = jax.device_put(rows.arrays, state.step.sharding)  # where the state is
    several = compile_step(DonatingStep(_in_a_loop(step)), state, None)
    return lambda state, numbers: several(state, (data, jnp.asarray(numbers, jnp.uint32)))


def _in_a_loop(step: Callable[..., Any]) -> Callable[..., Any]:
    def several(state: Any, given: Any) -> Any:
        data, numbers = given

        def one(state: Any, chosen: jax.Array) -> Any:
            batch = jax.tree.map(lambda a: a.at[chosen].get(mode="promise_in_bounds"), data)
            # Behind a barrier the step is compiled as it is alone, not fused with the gather.
            return step(state, jax.lax.optimization_barrier(batch))

        return jax.lax.scan(one, state, numbers)

    return several
