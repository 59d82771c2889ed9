"""How an NNX layer stores its rate: as it was given, or in a variable where it may change."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx


class DropRate(nnx.Variable):
    """A dropout rate that is part of the model's state and not of its parameters."""


def keep_rate(rate: Any) -> Any:
    """Return a rate as a layer stores it: a traced one in a variable.

    ``nnx.vmap``, ``nnx.scan`` and ``nnx.jit`` pass variables on; a tracer in an attribute would
    outlive its trace.
    """
    if isinstance(rate, (tuple, list)):
        return tuple(map(keep_rate, rate))
    traced = isinstance(rate, jax.core.Tracer) and jnp.issubdtype(rate.dtype, jnp.floating)
    return in_variable(rate, ()) if traced else rate


def in_variable(rate: Any, stack: tuple[int, ...]) -> DropRate:
    """Return a variable for a rate, in which each layer of a stack has its own.

    It remembers the shape that a single layer expects in it.
    """
    rate = jnp.asarray(rate, jnp.float32)
    if rate.shape[: len(stack)] != stack:
        rate = jnp.broadcast_to(rate, (*stack, *rate.shape))
    return DropRate(rate, layer_shape=rate.shape[len(stack) :])


def read_rate(rate: Any, read: Callable[[Any], Any] | None = None) -> Any:
    """Return the value of a rate that may be an ``nnx.Variable``, or of each of several.

    A layer reads its own; ``read`` is for other code, which wants the rates of a whole stack.
    """
    if isinstance(rate, (tuple, list, nnx.List)):
        return tuple(read_rate(r, read) for r in rate)
    return (read or _of_one_layer)(rate) if isinstance(rate, nnx.Variable) else rate


def _of_one_layer(rate: nnx.Variable) -> Any:
    value = rate[...]
    expected = rate.get_metadata("layer_shape", value.shape)
    if value.shape != expected:
        raise ValueError(
            f"got a rate of shape {value.shape} in a layer whose rate has shape {expected}: each "
            "layer of a stack has its own, so nnx.scan and nnx.vmap have to map over them; name "
            "them in the axes, nnx.StateAxes({jaxdrop.surgery.DropRate: 0, ...: others})"
        )
    return value
