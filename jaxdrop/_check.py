"""Checks of arguments that every member of the family shares: input, dimensions, mode."""

import operator
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

_UNFIT = {
    "float8_e8m0fnu": "no zero for what is dropped",
    "float4_e2m1fn": "too few numbers for what is kept and scaled",
}


def check_input(x: Any, caller: str, name: str = "x", *, integers: bool = False) -> jax.Array:
    """Return x as an array, or raise a sentence if the caller can do nothing with it."""
    takes = f"{caller} takes a floating, complex or integer array"
    if not integers:
        takes = f"{caller} takes a floating or complex array"
    if not isinstance(x, (jax.Array, np.ndarray, np.generic, float, complex)):
        # nnx.Param and other variables; the core does not import flax.
        way_out = f": pass {name}[...]" if hasattr(x, "get_value") else ""
        raise TypeError(f"got {name}={x!r:.60} of type {type(x).__name__}; {takes}{way_out}")
    array = jnp.asarray(x)
    if jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
        raise TypeError(f"got a random key as {name}; {caller} takes the key first, then {name}")
    whole = integers and jnp.issubdtype(array.dtype, jnp.integer)
    if not (whole or jnp.issubdtype(array.dtype, jnp.inexact)):
        raise TypeError(
            f"got {name} of dtype {array.dtype}; {takes}: convert it first, for example "
            f"{name}.astype(jnp.float32)"
        )
    if not whole and array.dtype.name in _UNFIT:
        raise TypeError(
            f"got {name} of dtype {array.dtype}, which has {_UNFIT[array.dtype.name]}; convert it "
            f"first, for example {name}.astype(jnp.bfloat16)"
        )
    return array


def check_integer(value: Any, name: str, expected: str) -> int:
    """Return a Python int, or raise a sentence if value is no integer."""
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(
            f"got {name}={value!r:.60} of type {type(value).__name__}, expected {expected}"
        ) from None


def check_dims(broadcast_dims: Sequence[int], ndim: int, name: str = "broadcast_dims") -> set[int]:
    """Return dimensions counted from the front, or raise a sentence."""
    if not np.iterable(broadcast_dims):
        way_out = f", such as ({broadcast_dims},)" if isinstance(broadcast_dims, int) else ""
        raise TypeError(f"got {name}={broadcast_dims!r:.60}, expected a sequence{way_out}")
    given, dims = tuple(broadcast_dims), set()
    for d in given:
        d = check_integer(d, f"a dimension in {name}", "an integer")
        if not -ndim <= d < ndim:
            raise ValueError(
                f"got {d} in {name}={given} for an array of {ndim} dimensions, expected "
                f"{-ndim} <= d < {ndim}"
            )
        dims.add(d % ndim)
    return dims


def check_broadcast(shape: tuple[int, ...], target: tuple[int, ...], name: str, where: str) -> None:
    """Raise a sentence if an array of one shape does not broadcast against another."""
    pairs = zip(reversed(shape), reversed(target), strict=False)
    if len(shape) > len(target) or any(n not in (1, m) for n, m in pairs):
        raise ValueError(f"got {name} of shape {shape}, which does not broadcast against {where}")


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
