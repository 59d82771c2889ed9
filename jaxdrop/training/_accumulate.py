"""Gradients summed over microbatches, each with its part of the masks of the whole batch."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxdrop._core.broadcast import named_sharding
from jaxdrop._core.first_row import showing_first_rows
from jaxdrop._core.scale import product_dtype
from jaxdrop.training._batch_windows import find_windows
from jaxdrop.training._draw_rows import draw_rows

Objective = Callable[[Any, Any, Any], tuple[jax.Array, Any]]


def accumulated(
    objective: Objective, state: Any, batch: Any, parts: int, mesh: Mesh | None = None
) -> tuple[tuple[jax.Array, Any, Any], Any]:
    """Return the means of loss, metrics and gradients over the microbatches.

    Args:
      objective: ``(params, state, batch) -> (loss, (metrics, collections))``.
      state: a train state; its collections go from one microbatch to the next.
      batch: arrays with the rows along their first dimension.
      parts: how many microbatches.
      mesh: over whose axis "data" the rows of every microbatch are spread; None leaves that to jax.

    Returns:
      ``((loss, metrics, collections), gradients)``; collections as the last microbatch left them.

    Raises:
      ValueError: if the batch cannot be cut into parts, or the draws of a part cannot be told.
    """
    whole = _rows(batch, parts)
    rows = whole // parts
    cut = jax.tree.map(lambda a: _cut(a, parts, mesh), batch)
    one = jax.eval_shape(lambda tree: jax.tree.map(lambda a: a[0], tree), cut)
    inputs = state.params, state
    with showing_first_rows():
        program, shape = jax.make_jaxpr(objective, return_shape=True)(*inputs, one)
        windows = find_windows(program, jax.make_jaxpr(objective)(*inputs, batch), rows, whole)
    structure = jax.tree.structure(shape)

    def microbatch(carry: Any, part: tuple[Any, jax.Array]) -> tuple[Any, None]:
        sums, collections = carry
        piece, first = part

        def value(params: Any) -> tuple[jax.Array, Any]:
            given = jax.tree.leaves((params, state.replace(collections=collections), piece))
            results = draw_rows(program, windows, first, given)
            return jax.tree.unflatten(structure, results)

        (loss, (metrics, collections)), grads = jax.value_and_grad(value, has_aux=True)(
            state.params
        )
        sums = jax.tree.map(lambda s, a: s + jnp.asarray(a, s.dtype), sums, (loss, metrics, grads))
        return (sums, collections), None

    loss, (metrics, _) = shape
    zeros = jax.tree.map(_zeros, (loss, metrics, state.params))
    starts = np.arange(parts, dtype=np.uint32) * np.uint32(rows)
    (sums, collections), _ = jax.lax.scan(
        microbatch, (zeros, state.collections), (cut, jnp.asarray(starts))
    )
    loss, metrics, grads = jax.tree.map(lambda s: s * s.dtype.type(1 / parts), sums)
    grads = jax.tree.map(lambda g, p: g.astype(p.dtype), grads, state.params)
    return (loss, metrics, collections), grads


def _zeros(like: Any) -> jax.Array:
    """Return where a sum begins: in float32 at least, also for metrics that are integers."""
    dtype = jnp.dtype(like.dtype)
    wide = product_dtype(dtype) if jnp.issubdtype(dtype, jnp.inexact) else jnp.float32
    return jnp.zeros(like.shape, wide)


def _rows(batch: Any, parts: int) -> int:
    """Return how many rows a batch has, or raise an error if it cannot be cut into equal parts."""
    leaves = jax.tree_util.tree_leaves_with_path(batch)
    shapes = {jax.tree_util.keystr(path): jnp.shape(leaf) for path, leaf in leaves}
    lengths = {shape[:1] for shape in shapes.values()}
    if len(lengths) != 1 or () in lengths:
        raise ValueError(
            f"got accumulate={parts} and a batch with arrays of shapes {shapes}, expected arrays "
            "with the same first dimension, the rows"
        )
    ((rows,),) = lengths
    if rows % parts or not rows:
        raise ValueError(
            f"got accumulate={parts} and a batch of {rows} rows, expected a divisor of them"
        )
    return int(rows)


def _cut(array: Any, parts: int, mesh: Mesh | None) -> jax.Array:
    """Return an array's rows in equal parts: (parts, rows / parts, ...)."""
    array = jnp.asarray(array)
    shape = (parts, array.shape[0] // parts, *array.shape[1:])
    sharding = named_sharding(array)
    if sharding is not None:  # explicit axes: the rows are gathered, and spread again in each part
        spec = sharding.spec
        array = jax.sharding.reshard(array, sharding.update(spec=P(None, *spec[1:])))
        array = array.reshape(shape)
        return jax.sharding.reshard(array, sharding.update(spec=P(None, *spec)))
    array = array.reshape(shape)
    if mesh is None or AxisType.Explicit in mesh.axis_types:
        return array
    return jax.lax.with_sharding_constraint(array, NamedSharding(mesh, P(None, "data")))
