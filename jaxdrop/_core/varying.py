"""Inside ``shard_map``, a type says over which mesh axes a value varies; this keeps it true.

A gradient is summed over the axes over which a parameter does not vary and what it meets does. JAX
does so where it sees the two meet; at a primitive of ours they have to be made alike first.
"""

from typing import Any

import jax


def alike(*values: Any, over: frozenset[Any] = frozenset()) -> list[Any]:
    """Return the values, each marked to vary over every mesh axis that one of them varies over.

    And over those of ``over``.
    """
    axes = over.union(*map(varies_over, values))
    return [_marked(value, axes - varies_over(value)) for value in values]


def varies_over(value: Any) -> frozenset[Any]:
    """The mesh axes over which a value may differ, by its type; none outside of ``shard_map``."""
    if not isinstance(value, jax.Array):
        return frozenset()
    return jax.typeof(value).manual_axis_type.varying


def as_varying_as(value: Any, tree: Any) -> Any:
    """Return the value, marked to vary over every mesh axis that it or an array of a tree does.

    For the branches of a conditional, which have to be of one type whichever is taken.
    """
    if not jax.sharding.get_abstract_mesh().manual_axes:
        return value
    return alike(value, over=frozenset().union(*map(varies_over, jax.tree.leaves(tree))))[0]


def _marked(value: Any, axes: frozenset[Any]) -> Any:
    # Sorted, so that two processes trace the same program.
    return jax.lax.pcast(value, tuple(sorted(axes)), to="varying") if axes else value
