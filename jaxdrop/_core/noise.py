"""Normal noise in the shape of an array."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxdrop._core.broadcast import follow
from jaxdrop._core.normal import narrow_normal, spread


def scaled_noise(key: Any, x: jax.Array, std: Any) -> jax.Array:
    """``std z`` for every element of x."""
    wide = noise_dtype(x)
    factor = jnp.asarray(std, wide) * spread(wide)
    return follow(narrow_normal(key, x.shape, wide), x) * follow(factor, x)


def noise_dtype(x: jax.Array) -> Any:
    """The dtype of the noise: float32, or float64 where x has it."""
    return jnp.float64 if jnp.finfo(x.dtype).bits == 64 else jnp.float32
