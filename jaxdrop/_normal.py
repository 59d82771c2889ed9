"""standard_normal: Gaussian noise as a function of key and index, one word per element."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxdrop._bits import random_bits
from jaxdrop._dropout import AnyKey


def standard_normal(
    key: AnyKey,
    shape: Sequence[int],
    dtype: Any = jnp.float32,
    *,
    index_offset: Sequence[Any] = (),
    global_shape: Sequence[int] | None = None,
) -> Float[Array, "..."]:
    """Draw standard normal numbers, each a function of the key and of its row-major index alone.

    ``sqrt(2) erfinv(u)``, u in the middle of one of 2**24 equal cells of (-1, 1)

    Args:
      key: a random key of any implementation, or a legacy uint32 key.
      shape: shape of the result.
      dtype: a floating dtype; what is narrower than float32 is computed in float32 and rounded.
        float64 takes all 32 bits of the word.
      index_offset, global_shape: as in ``random_bits``.

    Returns:
      Array of the given shape and dtype. The law is symmetric, so its mean is 0 exactly; its tails
      end at 5.42 (float64: 6.34) standard deviations.
    """
    bits = random_bits(key, shape, index_offset=index_offset, global_shape=global_shape)
    if jnp.dtype(dtype) == jnp.float64:
        u = (bits.astype(jnp.float64) - (2.0**31 - 0.5)) * 2.0**-31
    else:
        # Signed, so that the half added to 24 bits is still exact in float32.
        cell = jnp.right_shift(bits, np.uint32(8)).astype(jnp.int32) - np.int32(1 << 23)
        u = (cell.astype(jnp.float32) + 0.5) * np.float32(2.0**-23)
    return (np.sqrt(2).astype(u.dtype) * jax.lax.erf_inv(u)).astype(dtype)
