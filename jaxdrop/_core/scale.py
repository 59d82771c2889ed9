"""Products with a factor: in float32 at least, and rounded once to the dtype of the array."""

from typing import Any

import jax
import jax.numpy as jnp


def product_dtype(dtype: Any) -> Any:
    """The dtype of a factor: float32 where the array's own is narrower."""
    dtype = jnp.dtype(dtype)
    narrow = jnp.issubdtype(dtype, jnp.floating) and dtype.itemsize < 4
    return jnp.dtype(jnp.float32) if narrow else dtype


def scaled(x: jax.Array, factor: Any) -> jax.Array:
    """Return ``x * factor`` in x's dtype.

    Rounding the factor to x's dtype first would move the mean of the product: by 0.2% for a
    bfloat16 array divided by 0.9.
    """
    wide = product_dtype(x.dtype)
    return (x.astype(wide) * jnp.asarray(factor, wide)).astype(x.dtype)
