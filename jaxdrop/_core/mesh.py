"""mesh_axes: where an array lies on a mesh, by the mesh axis that splits each of its dimensions.

Inside ``shard_map`` a function sees one block of a global array. From the names of the axes follow
the block's position and the global shape, and from these the part of the global mask.
"""

import math
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from types import EllipsisType
from typing import Any

import jax
import numpy as np

from jaxdrop._core.annotations import MeshAxes
from jaxdrop._core.checks import check_sequence
from jaxdrop._core.index import Block, Limbs, add, block_layout, check_offsets, times
from jaxdrop._core.key import Words
from jaxdrop._core.varying import varies_over

Names = tuple[tuple[str, ...], ...]
"""Of each leading dimension, the names of the mesh axes that split it."""

_EXPECTED = (
    "for each leading dimension a mesh axis, a tuple of them, or None, such as ('data', None)"
)


_DEFAULT = jax.make_user_context(None)  # a jitted function is traced again where it is another one


def default_mesh_axes(
    mesh_axes: Sequence[str | Sequence[str] | EllipsisType | None],
) -> AbstractContextManager[Any]:
    """``with default_mesh_axes(("data", ..., "model")):`` say it once for a whole model.

    Inside ``shard_map``, what is called in this context without ``mesh_axes`` or ``index_offset``
    of its own takes these: the entries before ``...`` for its first dimensions, those after it for
    its last ones. Of the axes count only those over which the array varies, as ``check_vma`` knows,
    so that an array which all devices of an axis hold alike gets one mask there, and the split
    ones get their parts of the mask that the model has on one device. Each dropout of activations
    follows, layers and attention included, where heads are the last dimension. Weights do not,
    since an axis may split any dimension of them: where they vary over an axis, members that drop
    weights (``drop_connect``, ``embedding_dropout``, ``weight_drop``) ask for ``mesh_axes`` of
    their own.
    Outside of ``shard_map`` it does nothing. ``random_bits``, ``keep_mask`` and what takes no
    ``mesh_axes`` do not look at it.

    Args:
      mesh_axes: for each of the first and the last dimensions, a mesh axis, a tuple of them, or
        None. Without ``...`` all entries are for first dimensions.

    Raises:
      TypeError: for an entry of another type.
      ValueError: if an axis or ``...`` is there twice; where it is used, if the mesh does not have
        an axis, if x varies over an axis that is named for none of its dimensions, and inside
        ``shard_map(..., check_vma=False)``.

    >>> import functools, jax, jax.numpy as jnp, jaxdrop
    >>> from jax.sharding import PartitionSpec as P
    >>> mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    >>> split = functools.partial(jax.shard_map, mesh=mesh, out_specs=P("data"))
    >>> key, x = jax.random.key(0), jnp.ones((8, 4))
    >>> drop = split(lambda x: jaxdrop.dropout(key, x, 0.5), in_specs=P("data"))
    >>> with jaxdrop.default_mesh_axes(("data", ...)):
    ...     y = drop(x)
    >>> bool((y == jaxdrop.dropout(key, x, 0.5)).all())
    True
    """
    expected = _EXPECTED[:-1] + ", ...)"
    entries = tuple(check_sequence(mesh_axes, "mesh_axes", expected))
    if entries.count(...) > 1:
        raise ValueError(f"got ... twice in mesh_axes={mesh_axes!r:.60}, expected it once at most")
    at = entries.index(...) if ... in entries else len(entries)
    names = check_mesh_axes([entry for entry in entries if entry is not ...], None)
    context: AbstractContextManager[Any] = _DEFAULT((names[:at], names[at:]))
    return context


def or_default(
    mesh_axes: MeshAxes, *arrays: jax.Array, weights: bool = False, whole: int = 0
) -> MeshAxes:
    """Return ``mesh_axes``, or, where none are given, the default for arrays that share a mask.

    Args:
      mesh_axes: what the call was given.
      arrays: of one rank.
      weights: whether they are weights, for which there is no default.
      whole: how many of the last dimensions nothing splits.
    """
    mesh, default = jax.sharding.get_abstract_mesh(), _DEFAULT.value
    given = not isinstance(mesh_axes, tuple) or bool(mesh_axes)
    if given or default is None or not mesh.manual_axes:
        return mesh_axes
    if not any(varies_over(jax.lax.axis_index(axis)) for axis in mesh.manual_axes):
        raise ValueError(
            f"got {default=} of default_mesh_axes inside shard_map(..., check_vma=False), where it "
            "is not known which arrays are split: use check_vma=True, or give mesh_axes to each "
            "call"
        )
    first, last = ((), ()) if weights else default
    for name in (name for of_one in (*first, *last) for name in of_one):
        if name not in mesh.axis_names:
            raise ValueError(
                f"got {name!r} in default_mesh_axes inside shard_map over a mesh with the axes "
                f"{mesh.axis_names}; expected one of them, or None"
            )
    ndim, split = arrays[0].ndim - whole, frozenset[Any]().union(*map(varies_over, arrays))
    first = first[:ndim]
    last = last[max(len(first) + len(last) - ndim, 0) :]
    middle = ((),) * (ndim - len(first) - len(last))
    return tuple(tuple(n for n in of_one if n in split) for of_one in (*first, *middle, *last))


def check_mesh_axes(mesh_axes: MeshAxes, ndim: int | None) -> Names:
    """Return the names of each leading dimension, or raise an error; ndim None takes any number."""
    if isinstance(mesh_axes, tuple) and not mesh_axes:
        return ()
    names = tuple(map(_names, check_sequence(mesh_axes, "mesh_axes", _EXPECTED)))
    if ndim is not None and len(names) > ndim:
        raise ValueError(
            f"got {len(names)} entries in mesh_axes={mesh_axes!r:.60} for an array of {ndim} "
            "dimensions; give at most one for each"
        )
    flat = [name for of_one in names for name in of_one]
    for name in flat:
        if flat.count(name) > 1:
            raise ValueError(
                f"got {name!r} twice in mesh_axes={mesh_axes!r:.60}; a mesh axis splits one "
                f"dimension: give {_EXPECTED}"
            )
    return names


def _names(entry: Any) -> tuple[str, ...]:
    """The names in one entry; a string is one, and no sequence of letters."""
    if entry is None:
        return ()
    names = (entry,) if isinstance(entry, str) else entry
    if not (isinstance(names, (tuple, list)) and all(isinstance(name, str) for name in names)):
        raise TypeError(
            f"got an entry {entry!r:.60} of type {type(entry).__name__} in mesh_axes, expected "
            f"{_EXPECTED}"
        )
    return tuple(names)


def bound_axes(mesh_axes: MeshAxes, ndim: int) -> Names:
    """Return the names that stand for something here: axes of the ``shard_map`` around the call.

    Without one there are none. An axis that ``shard_map`` leaves to XLA splits nothing that is seen
    from inside.
    """
    names = check_mesh_axes(mesh_axes, ndim)
    mesh = jax.sharding.get_abstract_mesh()
    if not mesh.manual_axes:
        return ()
    for name in (name for of_one in names for name in of_one):
        if name not in mesh.axis_names:
            raise ValueError(
                f"got {name!r} in mesh_axes={mesh_axes!r:.60} inside shard_map over a mesh with "
                f"the axes {mesh.axis_names}; expected one of them, or None"
            )
    bound = tuple(tuple(n for n in of_one if n in mesh.manual_axes) for of_one in names)
    return bound if any(bound) else ()


def placed(mesh_axes: MeshAxes, key: Any, *arrays: jax.Array) -> Names:
    """``bound_axes`` of arrays that share a mask, which have to be split as ``mesh_axes`` says.

    Over which axes an array differs is known with ``check_vma``. Only what is drawn is checked: not
    without a key, and not if ``mesh_axes`` says nothing. An array that differs over no axis may be
    a constant, or be without marks, as in flax's scan over layers or time.
    """
    mesh_axes = or_default(mesh_axes, *arrays)
    names = bound_axes(mesh_axes, arrays[0].ndim)
    if key is None or (isinstance(mesh_axes, tuple) and not mesh_axes):
        return names
    named = {name for of_one in names for name in of_one}
    differs = frozenset[Any]().union(*map(varies_over, arrays))
    of_key = varies_over(key.array if isinstance(key, Words) else key)
    for axis in jax.sharding.get_abstract_mesh().manual_axes:
        if not varies_over(jax.lax.axis_index(axis)):  # without check_vma nothing is marked
            return names
        if axis in differs - named - of_key:
            raise ValueError(
                f"got mesh_axes={mesh_axes!r:.60} for an array that differs over the mesh axis "
                f"{axis!r}, as the key does not: name {axis!r} for the dimension that it splits, "
                f"or give each part masks of its own by "
                f"jax.random.fold_in(key, jax.lax.axis_index({axis!r}))"
            )
        if differs and axis in named - differs:
            raise ValueError(
                f"got {axis!r} in mesh_axes={mesh_axes!r:.60} for an array that is the same over "
                f"that mesh axis: leave it out, so that all copies get one mask; a block that is "
                f"not marked as one takes jax.lax.pcast(x, {axis!r}, to='varying')"
            )
    return names


def no_position(index_offset: Any, global_shape: Sequence[int] | None = None) -> bool:
    """Say whether a call leaves it to the mesh axes in which part of the whole its array lies."""
    return global_shape is None and not check_offsets(index_offset)


def axes_or_position(
    mesh_axes: MeshAxes, ndim: int, index_offset: Any, global_shape: Sequence[int] | None
) -> Names:
    """``bound_axes`` for a caller that takes a position as well, of which one may be given."""
    names = bound_axes(mesh_axes, ndim)
    if names and not no_position(index_offset, global_shape):
        raise ValueError(
            f"got {mesh_axes=} with {index_offset=} and {global_shape=}, where each says in which "
            "part of the global array x lies: give mesh_axes alone, or leave it out"
        )
    return names


def shard_layout(
    drawn: tuple[int, ...], names: Names, shape: tuple[int, ...] | None = None
) -> tuple[Block, Limbs]:
    """Return the block that is drawn for a shard, and the index of its first element.

    Args:
      drawn: shape of what is drawn.
      names: what ``bound_axes`` returned, of dimensions that are split.
      shape: of the shard, if more is drawn: its neighbours' first elements, too.
    """
    if not any(names):
        return block_layout(drawn, (), None)
    own = drawn if shape is None else shape
    at, parts = zip(*(part_of(names, d) for d in range(len(drawn))), strict=True)
    whole = tuple(n + m * (p - 1) for n, m, p in zip(drawn, own, parts, strict=True))
    block, base = block_layout(drawn, (), whole)
    for d, part in enumerate(at):
        if parts[d] > 1:
            base = add(base, times(part.astype(np.uint32), own[d] * block.strides[d], parts[d]))
    return block._replace(axes=names), base


def part_of(names: Names, d: int) -> tuple[Any, int]:
    """Return which part of dimension d a shard holds, an int32, and how many parts there are."""
    if d >= len(names) or not names[d]:
        return 0, 1
    return jax.lax.axis_index(names[d]), math.prod(map(jax.lax.axis_size, names[d]))


def apart_from(names: Names, shared: Collection[int]) -> Names:
    """Return the names without those of dimensions that share a decision."""
    return tuple(() if d in shared else of_one for d, of_one in enumerate(names))
