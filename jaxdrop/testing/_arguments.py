"""Checks of an assertion's arguments: an input to read a mask off, the key before the input.

What chex can decide it decides, and ``told`` says it in our words, which name the way out.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import chex
import jax
import numpy as np

from jaxdrop._core.checks import as_array
from jaxdrop._core.key import is_typed
from jaxdrop.testing._traced import assert_on_host


@contextmanager
def told(error: Exception) -> Iterator[None]:
    """Raise the error in place of an AssertionError of chex within the context."""
    try:
        yield
    except AssertionError as failed:
        raise error from failed


def check_nonzero(x: Any, caller: str) -> jax.Array:
    """Return x as an array, or raise a sentence if a zero of y = fn(x) might not mean dropped."""
    array = as_array(x, "x", f"{caller} takes a floating array")
    with told(TypeError(f"got x of dtype {array.dtype}; {caller} takes a floating array")):
        chex.assert_type(array, float)

    def judge(x: np.ndarray) -> None:
        host = x.astype(np.float64)
        bad = ~np.isfinite(host) | (host == 0)
        if bad.any() or not host.size:
            raise ValueError(
                f"got x with {int(bad.sum())} of {host.size} elements zero or not finite; {caller} "
                "reads the mask off y / x, so give it an x without any, such as ones"
            )

    assert_on_host(judge, array, caller=caller)
    return array


def check_key_first(key: Any, x: Any, caller: str) -> None:
    """Raise TypeError if key and input were given in each other's place."""
    if _is_key(x) and not _is_key(key):
        raise TypeError(
            f"got the input first and the random key second; {caller} takes (fn, key, x): swap them"
        )


@contextmanager
def key_first(fn: Callable[[Any, Any], Any], x: Any, name: str) -> Iterator[None]:
    """If fn raises within the context, and works as fn(x, key), raise TypeError that says so."""
    try:
        yield
    except Exception as error:  # of the user's function, hence any; it is raised again
        if works_swapped(fn, x, jax.random.key(0)):
            raise swapped(name) from error
        raise


def works_swapped(fn: Callable[[Any, Any], Any], x: Any, key: Any) -> bool:
    """Say whether fn(x, key) returns arrays."""
    try:
        return bool(jax.tree.leaves(fn(x, key)))
    except Exception:  # of the user's function, given the wrong arguments: no, it does not
        return False


def swapped(name: str) -> TypeError:
    """Return the error of a function whose parameters are in the wrong order."""
    return TypeError(
        f"{name} is called with (key, x), and yours works with (x, key): swap its parameters, as "
        "in def fn(key, x)"
    )


def first_place(where: np.ndarray) -> tuple[int, ...]:
    """Return the index of the largest element, the first of equal ones, as Python ints."""
    return tuple(int(i) for i in np.unravel_index(int(np.argmax(where)), where.shape))


def _is_key(array: Any) -> bool:
    if not isinstance(array, (jax.Array, np.ndarray)):
        return False
    legacy = array.dtype == np.uint32 and array.shape in ((2,), (4,))
    return legacy or is_typed(array)
