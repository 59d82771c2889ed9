"""Attention to keys that lie on other devices: all of the length for a part of the heads.

Jacobs et al., DeepSpeed Ulysses, 2023.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdrop._attention.dot_product_attention import dot_product_attention
from jaxdrop._attention.place import Part


def all_to_all(
    q: jax.Array, k: jax.Array, v: jax.Array, at: Part, axis_name: str, rate: Any, **options: Any
) -> jax.Array:
    """``dot_product_attention`` of a device's part of the length, [B, T, N, H].

    Args:
      q, k, v: the part.
      at: where it lies.
      axis_name: the mesh axis that splits the length; none, where there is one part.
      rate: of dropout.
      options: of ``dot_product_attention``.
    """
    *_, queries, keys = at.whole
    first, heads = at.offset[1], q.shape[2]
    if at.devices > 1:
        _check_heads(heads, rate, at.devices, axis_name)
        k, v = (_for_each_device(a, at.devices) for a in (k, v))
        q, k, v = (
            jax.lax.all_to_all(a, axis_name, split_axis=2, concat_axis=1, tiled=True)
            for a in (q, k, v)
        )
        first = first + jax.lax.axis_index(axis_name) * (heads // at.devices)
    y = dot_product_attention(
        q[:, :queries], k[:, :keys], v[:, :keys], dropout_rate=rate,
        # jax.nn's, at test time, may hold all weights
        implementation=None if at.devices == 1 else "blockwise",
        index_offset=(at.offset[0], first), global_shape=at.whole, **options,
    )  # fmt: skip
    y = jnp.pad(y, [(0, 0), (0, q.shape[1] - queries), (0, 0), (0, 0)])
    if at.devices == 1:
        return y
    return jax.lax.all_to_all(y, axis_name, split_axis=1, concat_axis=2, tiled=True)


def _check_heads(heads: int, rate: Any, devices: int, axis_name: str) -> None:
    wanted = f"with method='all_to_all' over the {devices} devices of the mesh axis {axis_name!r}"
    if heads % devices:
        raise ValueError(
            f"got {heads} heads {wanted}, expected a multiple of {devices}: use method='ring'"
        )
    if np.shape(rate)[-3:-2] not in ((), (1,)):
        raise ValueError(
            f"got a dropout_rate of shape {np.shape(rate)} {wanted}, which split the heads: give "
            "one rate, or use method='ring'"
        )


def _for_each_device(keys: jax.Array, devices: int) -> jax.Array:
    """Repeat key heads, if they are too few, until each device gets as many as another."""
    return jnp.repeat(keys, devices // math.gcd(keys.shape[2], devices), axis=2)
