"""Shapes of masks that are shared along dimensions, and of what is combined with an array.

An array whose type names a sharding (explicit mesh axes) can only be combined with others of that
sharding.
"""

from collections.abc import Collection
from typing import Any

import jax
import jax.numpy as jnp


def shared_shape(shape: tuple[int, ...], shared: Collection[int]) -> tuple[int, ...]:
    """Return the shape of the decisions for an array: 1 along each dimension that shares them."""
    return tuple(1 if d in shared else n for d, n in enumerate(shape))


def with_rank(value: Any, ndim: int) -> Any:
    """Give an array a rank by leading dimensions of 1; a number, which needs none, is unchanged."""
    shape = value.shape if hasattr(value, "shape") else ()
    return value.reshape((1,) * (ndim - len(shape)) + shape) if shape else value


def named_sharding(x: jax.Array) -> Any:
    """Return the sharding in x's type, or None where it names no mesh axis."""
    sharding = jax.typeof(x).sharding
    named = not sharding.mesh.empty and any(axis is not None for axis in sharding.spec)
    return sharding if named else None


def entry_axes(axes: Any) -> set[str]:
    """The mesh axes of one entry of a PartitionSpec."""
    return set(axes if isinstance(axes, tuple) else () if axes is None else (axes,))


def shared_sharding(sharding: Any, drawn: tuple[int, ...], shape: tuple[int, ...]) -> Any:
    """Return the sharding of an array of shape ``drawn``, which is repeated to ``shape``."""
    if sharding is None:
        return None
    spec = [a if n == m else None for a, n, m in zip(sharding.spec, drawn, shape, strict=True)]
    return sharding.update(spec=jax.sharding.PartitionSpec(*spec))


def spread(value: jax.Array, shape: tuple[int, ...], sharding: Any = None) -> jax.Array:
    """Repeat an array of the same rank along its dimensions of 1."""
    if value.shape == shape:
        return value
    return jax.lax.broadcast_in_dim(value, shape, tuple(range(len(shape))), out_sharding=sharding)


def broadcast_like(value: Any, x: jax.Array) -> jax.Array:
    """Broadcast value to x's shape, sharded as x's type says."""
    whole = jnp.broadcast_to(value, x.shape)
    sharding = named_sharding(x)
    return whole if sharding is None else jax.sharding.reshard(whole, sharding)


def batch_first(a: jax.Array, dim: int | None, size: int) -> jax.Array:
    """Move the batch of ``vmap`` to the front; an array without one (dim is None) is repeated."""
    return jnp.broadcast_to(a, (size, *a.shape)) if dim is None else jnp.moveaxis(a, dim, 0)
