"""Evaluation: the exact mean of per-row metrics over a data set, for any batch size."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxdrop.training._dataset import Dataset
from jaxdrop.training._deterministic import compiler_options
from jaxdrop.training._metrics import check_row_metrics
from jaxdrop.training._place_rows import batch_shapes, place_batch
from jaxdrop.training._state import TrainState
from jaxdrop.training._step import make_eval_step


def make_evaluation(
    metric_fn: Callable[..., Any],
    rows: Dataset,
    batch_size: int,
    mesh: Mesh | None,
    like: TrainState,
) -> Callable[[TrainState], dict[str, float]]:
    """Build ``evaluate(state) -> {name: mean over rows}``, compiled once.

    The last batch is filled up with row 0, which does not count, so that all batches have one shape
    and can be spread over a mesh. Batches are added up in float64.

    Args:
      metric_fn: as for ``make_eval_step``; returns a dict of arrays with one element per row.
      rows, batch_size, mesh: as in ``fit``.
      like: a state of the kind to evaluate; what metric_fn returns for it is checked here.

    Raises:
      TypeError, ValueError: if metric_fn returns something else.
    """
    step = make_eval_step(metric_fn)

    def sums(state: TrainState, batch: Any, valid: jax.Array) -> dict[str, jax.Array]:
        values = step(state, batch)
        check_row_metrics(values, len(valid))
        return {
            name: jnp.sum(jnp.where(valid, value, jnp.zeros_like(value)), dtype=jnp.float32)
            for name, value in values.items()
        }

    everywhere = None if mesh is None else NamedSharding(mesh, P())
    compiled = jax.jit(sums, out_shardings=everywhere, compiler_options=compiler_options())
    compiled.eval_shape(
        like, batch_shapes(rows, batch_size, mesh), jax.ShapeDtypeStruct((batch_size,), bool)
    )

    def evaluate(state: TrainState) -> dict[str, float]:
        totals: dict[str, float] = {}
        for start in range(0, rows.count, batch_size):
            numbers = np.arange(start, start + batch_size)
            valid = numbers < rows.count
            batch = place_batch(rows, np.where(valid, numbers, 0), mesh)
            for name, value in compiled(state, batch, valid).items():
                totals[name] = totals.get(name, 0.0) + float(value)
        return {name: total / rows.count for name, total in totals.items()}

    return evaluate
