"""Argument checks that every member of the family shares: input, shape, numbers, switches.

Each raises before any work: a TypeError for the wrong kind of argument, a ValueError for a value
out of range, with one sentence that names what was given and what is expected.
"""

import numbers
import operator
from collections.abc import Callable, Mapping, Set
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from jaxdrop._core.key import is_deleted

_UNFIT = {
    "float8_e8m0fnu": "no zero for what is dropped",
    "float4_e2m1fn": "too few numbers for what is kept and scaled",
}


def check_input(x: Any, caller: str, name: str = "x", *, integers: bool = False) -> jax.Array:
    """Return x as an array, or raise an error if the caller cannot use it."""
    takes = f"{caller} takes a floating, complex or integer array"
    if not integers:
        takes = f"{caller} takes a floating or complex array"
    array = as_array(x, name, takes)
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


def check_real_input(x: Any, caller: str, name: str, why: str) -> jax.Array:
    """``check_input`` for a caller that does not take complex numbers."""
    array = check_input(x, caller, name)
    if jnp.issubdtype(array.dtype, jnp.complexfloating):
        raise TypeError(f"got {name} of dtype {array.dtype}; {caller} takes a real array, {why}")
    return array


def array_of(x: Any, name: str, takes: str) -> jax.Array:
    """``as_array``, which here takes lists of numbers as well."""
    if isinstance(x, (list, tuple)):
        try:
            x = np.asarray(x)
        except ValueError:  # the rows have different lengths
            raise TypeError(f"got {name}={x!r:.60} of type {type(x).__name__}; {takes}") from None
    array = as_array(x, name, takes)
    if jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
        raise TypeError(f"got a random key as {name}; {takes}")
    return array


def as_array(x: Any, name: str, takes: str) -> jax.Array:
    """Return x as a JAX array, or raise an error if it cannot become one."""
    if not isinstance(x, (jax.Array, np.ndarray, np.generic, float, complex)):
        # nnx.Param and other variables; the core does not import flax.
        way_out = f": pass {name}[...]" if hasattr(x, "get_value") else ""
        raise TypeError(f"got {name}={x!r:.60} of type {type(x).__name__}; {takes}{way_out}")
    if is_deleted(x):
        raise ValueError(
            f"got {name} of shape {np.shape(x)} that was deleted, as by donating it to a compiled "
            "function; pass the array that the function returned"
        )
    try:
        return jnp.asarray(x)
    except (TypeError, ValueError):  # strings, objects, dates, structs, long doubles, masked arrays
        dtype = np.asarray(x).dtype
        raise TypeError(
            f"got {name} of type {type(x).__name__} and dtype {dtype}, which jax does not have; "
            f"{takes}: convert it first, for example {name}.astype(np.float32)"
        ) from None


def known_values(array: Any) -> np.ndarray | None:
    """Return the values of an array that is known before tracing, else None.

    Values on a device are waited for and fetched.
    """
    if isinstance(array, jax.core.Tracer):
        return None
    if isinstance(array, jax.Array) and not (
        array.is_fully_addressable or array.is_fully_replicated
    ):
        return None
    return np.asarray(array)


def check_integer(value: Any, name: str, expected: str) -> int:
    """Return a Python int, or raise an error if value is not an integer."""
    try:
        if isinstance(value, (bool, np.bool_)):
            raise TypeError
        return operator.index(value)
    except TypeError:
        raise TypeError(
            f"got {name}={value!r:.60} of type {type(value).__name__}, expected {expected}"
        ) from None


def check_count(value: Any, name: str, meaning: str, at_least: int = 1) -> int:
    """Return a Python int of ``at_least`` or more, or raise an error."""
    expected = f"a whole number of at least {at_least}, {meaning}"
    number = check_integer(value, name, expected)
    if number < at_least:
        raise ValueError(f"got {name}={number}, expected {expected}")
    return number


def check_number(
    value: Any, name: str, expected: str, valid: Callable[[float], bool], *, traced: bool = True
) -> Any:
    """Return a real number unchanged, or raise an error if it is not one or not valid.

    It may be a Python or NumPy number or a 0-d array; with ``traced`` also a traced one, whose
    value is not checked.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        known = traced or not isinstance(value, jax.core.Tracer)
        if not (isinstance(value, (np.ndarray, jax.Array)) and is_real(value.dtype) and known):
            raise TypeError(
                f"got {name}={value!r:.60} of type {type(value).__name__}, expected {expected}"
            )
        if value.ndim:
            raise ValueError(f"got {name} of shape {value.shape}, expected {expected}")
    host = known_values(value)
    if host is not None and not valid(float(_in_float64(host))):
        raise ValueError(f"got {name}={value!r:.60}, expected {expected}")
    return value


def check_real_values(value: Any, name: str, expected: str) -> np.ndarray | None:
    """Return the values of a real number or array in float64, or None if they are not known yet.

    For anything else, raise an error that ends in ``expected``.
    """
    array = isinstance(value, (np.ndarray, jax.Array))
    if not array and (isinstance(value, bool) or not isinstance(value, numbers.Real)):
        raise TypeError(f"got {name}={value!r:.60} of type {type(value).__name__}; {expected}")
    if array and not is_real(value.dtype):
        raise TypeError(f"got a {name} of dtype {value.dtype}; {expected}")
    if is_deleted(value):
        raise ValueError(f"got a {name} of shape {value.shape} that was deleted; {expected}")
    host = known_values(value)
    return None if host is None else _in_float64(host)


def _in_float64(host: np.ndarray) -> np.ndarray:
    try:
        return host.astype(np.float64)
    except OverflowError:  # a Python integer beyond float64
        return np.where(host > 0, np.inf, -np.inf)


def is_real(dtype: Any) -> bool:
    """Whether arrays of this dtype hold integers or real numbers."""
    return jnp.issubdtype(dtype, jnp.floating) or jnp.issubdtype(dtype, jnp.integer)


def check_sequence(value: Any, name: str, expected: str) -> tuple[Any, ...]:
    """Return a tuple, or raise an error if value is no sequence, or a string, dict or set.

    Bytes would be taken for small integers, a dict for its keys.
    """
    if isinstance(value, (str, bytes, bytearray, Mapping, Set)) or not np.iterable(value):
        raise TypeError(
            f"got {name}={value!r:.60} of type {type(value).__name__}, expected {expected}"
        )
    return tuple(value)


def check_shape(shape: Any, name: str = "shape") -> tuple[Any, ...]:
    """Return a shape of Python ints, or raise an error.

    The symbolic sizes of ``jax.export`` stay as they are.
    """
    expected = "a sequence of sizes, integers of 0 or more, such as (2, 3)"
    sizes = tuple(
        n if export.is_symbolic_dim(n) else check_integer(n, f"a size in {name}", expected)
        for n in check_sequence(shape, name, expected)
    )
    if any(not export.is_symbolic_dim(n) and n < 0 for n in sizes):
        raise ValueError(f"got {name}={sizes}, expected {expected}")
    return sizes


def check_dims(broadcast_dims: Any, ndim: int, name: str = "broadcast_dims") -> set[int]:
    """Return dimensions counted from the front, or raise an error."""
    example = f"({broadcast_dims},)" if type(broadcast_dims) is int else "(0, 1)"
    expected = f"a sequence of different dimensions, such as {example}"
    given, dims = check_sequence(broadcast_dims, name, expected), set()
    for d in given:
        d = check_integer(d, f"a dimension in {name}", "an integer")
        if not -ndim <= d < ndim:
            raise ValueError(
                f"got {d} in {name}={given} for an array of {ndim} dimensions, expected "
                f"{-ndim} <= d < {ndim}"
            )
        if d % ndim in dims:
            raise ValueError(
                f"got {d} in {name}={given} for an array of {ndim} dimensions, which names a "
                f"dimension twice; expected {expected}"
            )
        dims.add(d % ndim)
    return dims


def check_broadcast(shape: tuple[int, ...], target: tuple[int, ...], name: str, where: str) -> None:
    """Raise an error if an array of one shape does not broadcast against another."""
    pairs = zip(reversed(shape), reversed(target), strict=False)
    if len(shape) > len(target) or any(n not in (1, m) for n, m in pairs):
        raise ValueError(f"got {name} of shape {shape}, which does not broadcast against {where}")


def check_switch(value: Any, name: str) -> bool:
    """Return a Python bool, or raise an error, also for None and for strings such as ``"no"``."""
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    raise TypeError(
        f"got {name}={value!r:.60} of type {type(value).__name__}, expected True or False"
    )


def check_mapping(value: Any, name: str, expected: str) -> Mapping[Any, Any]:
    """Return the mapping, or raise an error if value is not one."""
    if not isinstance(value, Mapping):
        raise TypeError(
            f"got {name}={value!r:.60} of type {type(value).__name__}, expected {expected}"
        )
    return value


def check_function(value: Any, name: str, takes: str) -> None:
    """Raise an error if value cannot be called."""
    if not callable(value):
        raise TypeError(f"got {name}={value!r:.60} of type {type(value).__name__}; {takes}")


def check_choice(value: Any, name: str, choices: tuple[str, ...]) -> None:
    """Raise an error if value is not one of the allowed words."""
    if not (isinstance(value, str) and value in choices):
        expected = " or ".join(map(repr, choices))
        raise ValueError(f"got {name}={value!r:.60}, expected {expected}")


def check_deterministic(deterministic: Any) -> Any:
    """Return a Python bool, or a bool scalar array when it is only known on the device."""
    if (
        isinstance(deterministic, jax.Array)
        and deterministic.dtype == jnp.bool_
        and deterministic.ndim == 0
    ):
        return deterministic
    if isinstance(deterministic, (bool, np.bool_)):
        return bool(deterministic)
    raise TypeError(
        f"got deterministic={deterministic!r:.60} of type {type(deterministic).__name__}, expected "
        "True, False or a bool scalar"
    )
