"""Checks of arguments that every member of the family shares: input, dimensions, mode."""

import operator
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def check_input(x: Any, caller: str) -> jax.Array:
    """Return x as an array, or raise a sentence if dropout of it has no meaning."""
    if not isinstance(x, (jax.Array, np.ndarray, np.generic, float, complex)):
        raise TypeError(
            f"got x={x!r:.60} of type {type(x).__name__}; {caller} takes a floating or complex "
            "array"
        )
    array = jnp.asarray(x)
    if not jnp.issubdtype(array.dtype, jnp.inexact):
        raise TypeError(
            f"got x of dtype {array.dtype}; {caller} takes a floating or complex array, because "
            "what is kept is scaled: convert it first, for example x.astype(jnp.float32)"
        )
    return array


def check_dims(broadcast_dims: Sequence[int], ndim: int) -> set[int]:
    dims = set()
    for d in broadcast_dims:
        d = operator.index(d)
        if not -ndim <= d < ndim:
            raise ValueError(
                f"got {d} in broadcast_dims={tuple(broadcast_dims)} for an array of {ndim} "
                f"dimensions, expected {-ndim} <= d < {ndim}"
            )
        dims.add(d % ndim)
    return dims


def check_deterministic(deterministic: Any) -> Any:
    """Return a Python bool, or a bool scalar array when it is only known on the device."""
    if isinstance(deterministic, (bool, np.bool_)):
        return bool(deterministic)
    if (
        isinstance(deterministic, jax.Array)
        and deterministic.dtype == jnp.bool_
        and deterministic.ndim == 0
    ):
        return deterministic
    raise TypeError(
        f"got deterministic={deterministic!r:.60} of type {type(deterministic).__name__}, expected "
        "True, False or a bool scalar"
    )
