"""Inside ``shard_map``, a type says over which mesh axes a value varies; this keeps it true.

A gradient is summed over the axes along which the data varies and the parameter does not. JAX does
so where it sees the two combined; before a primitive of ours they have to be made alike.
"""

from typing import Any

import jax


def alike(*values: Any, over: frozenset[Any] = frozenset()) -> list[Any]:
    """Return the values, each marked as varying over every mesh axis that any of them varies over.

    ``over`` names further axes.
    """
    axes = over.union(*map(varies_over, values))
    return [_marked(value, axes - varies_over(value)) for value in values]


def varies_over(value: Any) -> frozenset[Any]:
    """The mesh axes over which a value may differ, by its type; none outside of ``shard_map``."""
    if not isinstance(value, jax.Array):
        return frozenset()
    return jax.typeof(value).manual_axis_type.varying


def as_varying_as(value: Any, tree: Any) -> Any:
    """Return the value, marked as varying over the mesh axes that it or an array of a tree does.

    For the branches of a conditional, which must have the same type.
    """
    if not jax.sharding.get_abstract_mesh().manual_axes:
        return value
    return alike(value, over=frozenset().union(*map(varies_over, jax.tree.leaves(tree))))[0]


def _marked(value: Any, axes: frozenset[Any]) -> Any:
    # Sorted, so that two processes trace the same program.
    return jax.lax.pcast(value, tuple(sorted(axes)), to="varying") if axes else value
