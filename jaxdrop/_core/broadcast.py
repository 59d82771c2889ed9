"""follow: masks and constants in the shape, and on the devices, of the array they are for."""

from typing import Any

import jax
import jax.numpy as jnp


def follow(value: Any, x: jax.Array) -> jax.Array:
    """Broadcast value to x's shape, sharded as x's type says (explicit mesh axes)."""
    whole = jnp.broadcast_to(value, x.shape)
    sharding = jax.typeof(x).sharding
    if sharding.mesh.empty or all(axis is None for axis in sharding.spec):
        return whole
    return jax.sharding.reshard(whole, sharding)
