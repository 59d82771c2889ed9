"""Where rows lie: batches spread over a mesh's axis "data", and the whole arrays on devices."""

from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxdrop.training._dataset import Dataset
from jaxdrop.training._mesh import DATA


def place_batch(rows: Dataset, numbers: np.ndarray, mesh: Mesh | None) -> Any:
    """Return a batch for a step: on a mesh, each process takes the rows of its own devices.

    Numbers of several steps, (steps, rows), give arrays (steps, rows, ...).
    """

    def take(numbers: np.ndarray) -> Any:
        taken = rows.take(numbers.ravel())
        return jax.tree.map(lambda a: a.reshape(*numbers.shape, *a.shape[1:]), taken)

    if mesh is None:
        return take(numbers)
    sharding = _of_rows(mesh, numbers.ndim)
    held: dict[Any, Any] = {}

    def piece(index: Any) -> Any:
        which = index[numbers.ndim - 1].indices(numbers.shape[-1])
        if which not in held:
            held[which] = take(numbers[index[: numbers.ndim]])
        return held[which]

    mine = sharding.addressable_devices_indices_map(numbers.shape) or {}
    example = piece(next(iter(mine.values())))
    leaves, structure = jax.tree.flatten(example)

    def assemble(i: int, leaf: np.ndarray) -> jax.Array:
        shape = (*numbers.shape, *leaf.shape[numbers.ndim :])
        return jax.make_array_from_callback(
            shape, sharding, lambda index: jax.tree.leaves(piece(index))[i]
        )

    return jax.tree.unflatten(structure, [assemble(i, leaf) for i, leaf in enumerate(leaves)])


def place_numbers(numbers: np.ndarray, mesh: Mesh | None) -> jax.Array | np.ndarray:
    """Return numbers of rows (steps, rows), to be gathered where the rows of a batch lie."""
    words = numbers.astype(np.uint32)
    if mesh is None:
        return words
    return jax.make_array_from_callback(words.shape, _of_rows(mesh, 2), lambda i: words[i])


def place_whole(arrays: Any, state: Any, mesh: Mesh | None) -> Any:
    """Return arrays on the device where the state is, or each whole on all devices of the mesh."""
    if mesh is not None:
        everywhere = NamedSharding(mesh, P())
        return jax.tree.map(
            lambda a: jax.make_array_from_callback(a.shape, everywhere, lambda i: a[i]), arrays
        )
    # Data that were bound to a device would bind a state that is not; for that state the second
    # call would be compiled anew.
    leaves = jax.tree.leaves(state)
    bound = [leaf.sharding for leaf in leaves if getattr(leaf, "committed", False)]
    place = bound[0] if bound else None
    if isinstance(place, NamedSharding):
        place = place.update(spec=P())
    return jax.device_put(arrays, place)


def take_rows(arrays: Any, numbers: jax.Array, mesh: Mesh | None) -> Any:
    """Return the rows of these numbers of arrays that are whole on each device."""

    def take(array: jax.Array) -> jax.Array:
        if mesh is None:
            return array.at[numbers].get(mode="promise_in_bounds")
        place = _of_rows(mesh, 1)
        if AxisType.Explicit in mesh.axis_types:
            return array.at[numbers].get(mode="promise_in_bounds", out_sharding=place)
        taken = array.at[numbers].get(mode="promise_in_bounds")
        return jax.lax.with_sharding_constraint(taken, place)

    return jax.tree.map(take, arrays)


def _of_rows(mesh: Mesh, dims: int) -> NamedSharding:
    """Return how numbers of rows lie, of so many dimensions, and the rows of these numbers."""
    return NamedSharding(mesh, P(*[None] * (dims - 1), DATA))


def batch_shapes(rows: Dataset, batch_size: int, mesh: Mesh | None) -> Any:
    """Return the shapes, dtypes and places of a batch; one row is read for it."""
    sharding = None if mesh is None else NamedSharding(mesh, P(DATA))
    return jax.tree.map(
        lambda a: jax.ShapeDtypeStruct((batch_size, *a.shape[1:]), a.dtype, sharding=sharding),
        rows.take(np.zeros(1, np.int64)),
    )
