"""attend: Flax's protocol for the ``attention_fn`` of a module, on ``dot_product_attention``."""

import contextlib
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxdrop._attention.dot_product_attention import dot_product_attention
from jaxdrop._core.annotations import MeshAxes
from jaxdrop._core.mesh import check_mesh_axes, or_default


def attend(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    bias: jax.Array | None,
    mask: jax.Array | None,
    *,
    broadcast_dropout: bool,
    dropout_rng: Any,
    dropout_rate: Any,
    deterministic: Any,
    precision: Any,
    sow: Callable[[], Any] | None,
    mesh_axes: MeshAxes,
    **options: Any,
) -> jax.Array:
    """Attend with any number of batch dimensions, [..., length, heads, size], as Flax does.

    Args:
      query, key, value, bias, mask, broadcast_dropout, dropout_rng, dropout_rate, deterministic,
        precision: what a module passes; a mask of any dtype.
      sow: stores the weights in the module; None for a module that does not ask for them.
      mesh_axes: of query.
      options: of ``dot_product_attention``.
    """
    if sow is not None:
        sow()
    *batch, length, heads, _ = query.shape
    mesh_axes = or_default(mesh_axes, query, key, value, whole=1)  # of the shape before flat

    def flat(array: jax.Array) -> jax.Array:
        return array.reshape(math.prod(batch), *array.shape[-3:])

    def flat_pairs(array: jax.Array) -> jax.Array:
        """What broadcasts against [..., heads, queries, keys]."""
        array = array.reshape((1,) * (len(batch) + 3 - array.ndim) + array.shape)
        if all(n == 1 for n in array.shape[:-3]):
            return array.reshape(1, *array.shape[-3:])
        return flat(jnp.broadcast_to(array, (*batch, *array.shape[-3:])))

    with _precision(precision):
        y = dot_product_attention(
            flat(query),
            flat(key),
            flat(value),
            None if bias is None else flat_pairs(bias),
            None if mask is None else flat_pairs(mask.astype(jnp.bool_)),
            dropout_rate=dropout_rate,
            dropout_key=dropout_rng,
            deterministic=deterministic,
            broadcast_dropout_dims=(0, 1) if broadcast_dropout else (),
            mesh_axes=_with_one_batch(mesh_axes, len(batch)),
            **options,
        )
    return y.reshape(*batch, length, heads, value.shape[-1])


def _with_one_batch(mesh_axes: MeshAxes, batch: int) -> MeshAxes:
    """Return what splits query where its batch dimensions, ``batch`` of them, are one."""
    names = check_mesh_axes(mesh_axes, batch + 3)
    if any(names[1:batch]):
        raise ValueError(
            f"got {mesh_axes=!r:.60}, which splits another batch dimension than the first: "
            "expected None for it, or one batch dimension"
        )
    return (names[0] if batch else None, *names[batch:]) if names else ()


def _precision(precision: Any) -> contextlib.AbstractContextManager[Any]:
    if precision is None:
        return contextlib.nullcontext()
    if not isinstance(precision, str | jax.lax.Precision):
        raise ValueError(f"got {precision=!r:.60}, expected one precision for both products")
    name = precision if isinstance(precision, str) else precision.name.lower()
    return jax.default_matmul_precision(name)
