"""Metrics that a run can log: their names, shapes and dtypes, known before its first step."""

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
from jax.sharding import AxisType, Mesh

from jaxdrop.training._state import TrainState

# Names that a line of metrics uses itself.
TAKEN = {
    "step": "the number of the step",
    "epoch": "the number of the epoch",
    "loss": "the training loss",
}


def check_step_metrics(
    step: Callable[..., tuple[TrainState, dict[str, Any]]],
    state: TrainState,
    batch: Any,
    mesh: Mesh | None,
) -> None:
    """Trace a training step, and raise a sentence if a line cannot hold the metrics it returns.

    Args:
      step: jitted; this trace is the one that its first call uses.
      state, batch: of arrays or of ``jax.ShapeDtypeStruct``.
      mesh: where they are.
    """
    try:
        # A method of jitted functions, which Callable does not declare.
        _, metrics = step.eval_shape(state, batch)  # type: ignore[attr-defined]
    except Exception as error:  # of the user's loss, hence any; it is raised again
        if mesh is not None and AxisType.Explicit in mesh.axis_types:
            error.add_note(
                "The mesh has explicit axes, as jax.make_mesh makes them; where loss_fn is not "
                "written for them, give it axis_types=(jax.sharding.AxisType.Auto,) for each axis."
            )
        raise
    check_names(metrics, "loss_fn", ("step", "epoch"))
    for name, value in metrics.items():
        if value.shape:
            raise ValueError(
                f"loss_fn returned the metric {name!r} of shape {value.shape}; fit logs scalars"
            )
        check_dtype(name, value, "loss_fn")


def check_row_metrics(values: Any, rows: int) -> None:
    """Raise a sentence if these are not metrics of that many rows."""
    if not isinstance(values, Mapping):
        kind = type(values).__name__
        if hasattr(values, "shape"):
            kind = f"an array of shape {jnp.shape(values)}"
        raise TypeError(
            f"metric_fn returned {kind}, expected a dict of arrays with one number for each row, "
            'such as {"accuracy": correct}'
        )
    check_names(values, "metric_fn", tuple(TAKEN))
    for name, value in values.items():
        if jnp.shape(value) != (rows,):
            raise ValueError(
                f"metric_fn returned {name!r} of shape {jnp.shape(value)}, expected one number "
                f"for each of the {rows} rows of the batch"
            )
        check_dtype(name, value, "metric_fn")


def check_names(metrics: Mapping[Any, Any], by: str, taken: tuple[str, ...]) -> None:
    """Raise a sentence if a metric's name is not text, or is taken."""
    for name in metrics:
        if not isinstance(name, str):
            raise TypeError(f"{by} returned a metric named {name!r}, expected text as its name")
        if name in taken:
            other = f"test_{name}" if by == "metric_fn" else f"own_{name}"
            raise ValueError(
                f"{by} returned a metric named {name!r}, which is {TAKEN[name]} in what a step "
                f"logs; give it another name, such as {other!r}"
            )


def check_dtype(name: str, value: Any, by: str) -> None:
    """Raise TypeError if a metric is no real number."""
    dtype = jnp.result_type(value)
    if not any(jnp.issubdtype(dtype, kind) for kind in (jnp.floating, jnp.integer, jnp.bool_)):
        raise TypeError(
            f"{by} returned the metric {name!r} of dtype {dtype}; fit logs real numbers"
        )
