"""some_kept: a mask that drops at random, but never all of a group."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdrop._core.bits import random_bits
from jaxdrop._core.mask import is_kept, mask_params
from jaxdrop._core.mesh import Names
from jaxdrop._core.rate import Rate


def some_kept(key: Any, shape: tuple[int, ...], rate: Rate, names: Names = ()) -> jax.Array:
    """Draw a mask of shape (..., n) that keeps something of each group of n.

    The law is that of independent decisions, given that not all of them drop: a set S, but not all
    n, is dropped with probability ``prod(p in S) prod(1 - p not in S) / (1 - prod(p))``. It is
    drawn one after the other. As long as all before it were dropped, a thing is dropped with
    ``p (1 - r) / (1 - p r)``, where r is the product of the rates behind it; after the first that
    is kept, with p. At rates of 1 one is kept, each with the same probability.

    Args:
      key: a random key, or its words.
      shape: (..., n), with n of 1 or more.
      rate: of each thing; its value broadcasts against the shape.
      names: those of ``placed``; no mesh axis may split the last dimension.
    """
    words = random_bits(key, shape, mesh_axes=names)
    free = is_kept(words, mask_params(rate))
    leading = is_kept(words, mask_params(Rate(_while_none_is_kept(rate.value, shape[-1]))))
    dropped = jnp.cumprod(~leading, axis=-1, dtype=jnp.int32)[..., :-1] == 1
    none_before = jnp.concatenate([jnp.ones_like(leading[..., :1]), dropped], axis=-1)
    return jnp.where(none_before, leading, free)


def _while_none_is_kept(p: Any, n: int) -> Any:
    """Return the rates of n things, each given that all before it were dropped."""
    np_: Any = jnp if isinstance(p, jax.Array) else np
    p = np_.broadcast_to(p, (*np_.shape(p)[:-1], n))
    together = np_.cumprod(p[..., ::-1], axis=-1)[..., ::-1]  # all from here on
    behind = np_.concatenate([together[..., 1:], np_.ones_like(p[..., :1])], axis=-1)
    left = np.arange(n - 1, -1, -1, dtype=p.dtype)  # how many are behind
    uniform = np_.broadcast_to(left / (left + 1), p.shape)
    some = together < 1
    return np_.where(some, p * (1 - behind) / np_.where(some, 1 - together, 1), uniform)
