"""Normal noise in the shape of an array."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxdrop._core.broadcast import broadcast_like
from jaxdrop._core.mesh import Names
from jaxdrop._core.normal import narrow_normal, narrow_scale


def scaled_noise(key: Any, x: jax.Array, std: Any, names: Names = ()) -> jax.Array:
    """``std z`` for every element of x; names of mesh axes are those of ``placed``."""
    wide = noise_dtype(x)
    factor = jnp.asarray(std, wide) * narrow_scale(wide)
    noise = broadcast_like(narrow_normal(key, x.shape, wide, names), x)
    return noise * broadcast_like(factor, x)


def noise_dtype(x: jax.Array) -> Any:
    """The dtype of the noise: float32, or float64 where x has it."""
    return jnp.float64 if jnp.finfo(x.dtype).bits == 64 else jnp.float32
