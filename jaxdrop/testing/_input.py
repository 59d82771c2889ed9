"""The one demand on an input from which a mask is to be read off."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def check_nonzero(x: Any, caller: str) -> jax.Array:
    """Return x as an array, or raise a sentence if a zero in y would not mean dropped."""
    array = jnp.asarray(x)
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise TypeError(f"got x of dtype {array.dtype}; {caller} takes a floating array")
    host = np.asarray(array).astype(np.float64)
    bad = ~np.isfinite(host) | (host == 0)
    if bad.any() or not host.size:
        raise ValueError(
            f"got x with {int(bad.sum())} of {host.size} elements zero or not finite; {caller} "
            "reads the mask off y / x, so give it an x without any, such as ones"
        )
    return array
