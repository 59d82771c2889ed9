"""Which part of [B, N, T, S] a shard computes, by the mesh axes that split its queries."""

from typing import Any, NamedTuple

import jax

from jaxdrop._core.annotations import MeshAxes
from jaxdrop._core.checks import check_integer
from jaxdrop._core.first_row import first_row
from jaxdrop._core.mesh import (
    Names,
    axes_or_position,
    check_mesh_axes,
    no_position,
    or_default,
    part_of,
    placed,
)
from jaxdrop._core.varying import varies_over


def place(
    mesh_axes: MeshAxes,
    dropout_key: Any,
    arrays: tuple[Any, Any, Any],
    shape: tuple[int, ...],
    index_offset: Any,
    global_shape: Any,
) -> tuple[Any, Any, Names]:
    """Return the shard's index_offset and global_shape, and what splits the weights.

    Without mesh_axes the first two are as they are given.

    Args:
      mesh_axes: of query.
      dropout_key: the random key, or None.
      arrays: query, key and value, which have to be split as mesh_axes says.
      shape: of the shard's weights, [B, N, T, S].
      index_offset, global_shape: as in ``random_bits``.
    """
    ndim = arrays[0].ndim
    split_by_axes = no_position(index_offset, global_shape)
    if split_by_axes:
        mesh_axes = or_default(mesh_axes, *arrays, whole=1)
    _check_size_is_whole(mesh_axes, ndim)
    names = axes_or_position(mesh_axes, ndim, index_offset, global_shape)
    if split_by_axes:
        placed(mesh_axes, dropout_key, *arrays)
    if not names:
        return index_offset, global_shape, ()
    of_batch, of_length, of_heads, _ = _of_four(names, ndim)
    axes = of_batch, of_heads, of_length, ()
    return *_position(axes, shape), axes


class Part(NamedTuple):
    """A device's part of a sequence."""

    devices: int  # that share the sequence
    offset: tuple[Any, ...]  # of its examples and heads in the whole, then 0 and 0
    whole: tuple[int, ...]  # [B, N, T, S], without padding


def part_of_sequence(
    axis_name: Any,
    mesh_axes: MeshAxes,
    dropout_key: Any,
    arrays: tuple[Any, Any, Any],
    global_length: Any,
) -> Part:
    """Return the part of queries and keys that are split over axis_name by length.

    Args:
      axis_name: of ``shard_map``; elsewhere there is one part.
      mesh_axes: of query; its length's may be left out.
      dropout_key: the random key, or None.
      arrays: query, key and value, [B, length, heads, size] or without B.
      global_length: (T, S), one number for both, or None for what the parts have.
    """
    if not isinstance(axis_name, str):
        raise TypeError(
            f"got {axis_name=!r:.60} of type {type(axis_name).__name__}, expected the name of the "
            "mesh axis that splits the length"
        )
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.manual_axes and axis_name not in mesh.axis_names:
        raise ValueError(
            f"got {axis_name=} inside shard_map over a mesh with the axes {mesh.axis_names}, "
            "expected one of them"
        )
    query, key, _ = arrays
    mesh_axes = or_default(mesh_axes, *arrays, whole=1)
    ndim, given = query.ndim, check_mesh_axes(mesh_axes, query.ndim)
    full: list[Any] = [*(names or None for names in given), *(None,) * (ndim - len(given))]
    if full[ndim - 3] not in (None, (axis_name,)):
        raise ValueError(
            f"got {mesh_axes=!r:.60} with {axis_name=}: expected {axis_name!r}, or None, for the "
            "length of query"
        )
    full[ndim - 3] = axis_name
    _check_size_is_whole(full, ndim)
    names = _of_four(placed(full, dropout_key, *arrays), ndim)
    _check_all_are_split(names[1], arrays)
    shape = (1, *query.shape)[-4], query.shape[-2], query.shape[-3], key.shape[-3]
    offset, whole = _position((names[0], names[2], names[1], names[1]), shape)
    example = first_row(offset[0], shape[0], names[0])
    lengths = _check_global_length(global_length, whole[2:])
    return Part(part_of(names, 1)[1], (example, offset[1], 0, 0), (*whole[:2], *lengths))


def _check_all_are_split(axes: tuple[str, ...], arrays: tuple[Any, ...]) -> None:
    """Raise an error if an array is the same on all devices, where that is known."""
    if not any(map(varies_over, arrays)):
        return
    for name, array in zip(("query", "key", "value"), arrays, strict=True):
        for axis in set(axes) - varies_over(array):
            raise ValueError(
                f"got a {name} that is the same over the mesh axis {axis!r}, expected a part of "
                "its length on each device; keys and values that every device holds as a whole "
                "are for dot_product_attention, with mesh_axes"
            )


def _check_global_length(given: Any, padded: tuple[int, ...]) -> tuple[int, ...]:
    if given is None:
        return padded
    expected = (
        f"the number of queries and keys without padding, from 1 to {padded}: two integers, or one"
    )
    pair = tuple(given) if isinstance(given, tuple | list) else (given, given)
    sizes = tuple(check_integer(size, "global_length", expected) for size in pair)
    if len(sizes) != 2 or any(not 1 <= n <= m for n, m in zip(sizes, padded, strict=True)):
        raise ValueError(f"got global_length={given!r:.60}, expected {expected}")
    return sizes


def _check_size_is_whole(mesh_axes: MeshAxes, ndim: int) -> None:
    """Raise an error if mesh_axes is wrong, or splits the size of a head."""
    if any(check_mesh_axes(mesh_axes, ndim)[ndim - 1 :]):
        raise ValueError(
            f"got mesh_axes={mesh_axes!r:.60}, which splits the last dimension of query, the size "
            "of a head: expected it whole; split heads, batch or length"
        )


def _of_four(names: Names, ndim: int) -> Names:
    """The names of [B, T, N, H], for a query that may have no B."""
    return ((),) * (4 - ndim) + names + ((),) * (ndim - len(names))


def _position(names: Names, shape: tuple[int, ...]) -> tuple[tuple[Any, ...], tuple[int, ...]]:
    """Return the index of a shard's first element, and the shape of the whole."""
    at = [part_of(names, d) for d in range(len(shape))]
    offset = (i if n == 1 else i * size for (i, n), size in zip(at, shape, strict=True))
    return tuple(offset), tuple(n * size for (_, n), size in zip(at, shape, strict=True))
