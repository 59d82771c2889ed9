"""A fingerprint of arrays, computed where they lie: it tells a damaged checkpoint."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


@jax.jit
def fingerprint(tree: Any) -> jax.Array:
    """Return one uint32 per array: ``sum((2 * index + 1) * word) mod 2**32`` over its words.

    The words are the array's bits, 32 or fewer at a time. A changed word changes the sum, because
    an odd factor has an inverse modulo ``2**32``; two words that swap places change it unless
    ``2 * (i - j) * (a - b)`` is a multiple of ``2**32``. Integer sums do not depend on their order,
    so that any sharding gives the same number, and nothing leaves the devices but the result.

    Args:
      tree: arrays of any dtype but typed keys.

    Returns:
      uint32 array with one element per array of the tree, in the tree's order.
    """
    sums = [_sum(leaf) for leaf in jax.tree.leaves(tree)]
    return jnp.stack(sums) if sums else jnp.zeros(0, jnp.uint32)


def _sum(array: jax.Array) -> jax.Array:
    if jnp.issubdtype(array.dtype, jnp.complexfloating):
        array = jnp.stack([array.real, array.imag])
    if array.dtype == jnp.bool_:
        array = array.astype(jnp.uint8)
    bits = array.dtype.itemsize * 8
    words = jax.lax.bitcast_convert_type(array, jnp.uint32 if bits >= 32 else f"uint{bits}")
    words = words.astype(jnp.uint32)
    # The index of a word is built along the axes, without a reshape that would move shards.
    index = jnp.zeros(words.shape, jnp.uint32)
    stride = np.uint32(1)
    for axis in reversed(range(words.ndim)):
        place = jax.lax.broadcasted_iota(jnp.uint32, words.shape, axis)
        index = index + place * stride
        stride = np.uint32((int(stride) * words.shape[axis]) % 2**32)
    return jnp.sum(words * (index * np.uint32(2) + np.uint32(1)), dtype=jnp.uint32)
