"""Assertion that a model in test mode is deterministic."""

import functools
from collections.abc import Callable
from typing import Any

import chex
import jax
import numpy as np

from jaxdrop._core.checks import check_function
from jaxdrop.testing._arguments import first_place, swapped, told, works_swapped
from jaxdrop.testing._traced import assert_on_host


def assert_deterministic_eval(apply_fn: Callable[[Any, Any], Any], x: Any) -> None:
    """Assert that a model in test mode gives the same bits for every key, and without one.

    ``apply_fn(None, x) == apply_fn(key, x)`` for every key

    This is exact: one bit of one element that differs is a failure.

    Args:
      apply_fn: function of (key, x) that runs the model in test mode; it returns an array or a
        pytree of arrays. It must pass the key to the model wherever the model takes one, and pass
        none if key is None. It is called twice with None and once with each of three keys.
      x: the input, an array or anything else that apply_fn takes.

    Raises:
      AssertionError: if a call without a key fails, or an output differs; says where and by how
        much.
      ValueError: if apply_fn returns no array.
      TypeError: if apply_fn takes x before the key, or if something is traced and no chex.chexify
        is around.

    A compiled function sends the outputs to the host, which compares them.

    A Linen model takes the key as ``rngs``:

    >>> import jax, jax.numpy as jnp, jaxdrop.linen
    >>> model, x = jaxdrop.linen.Dropout(0.5), jnp.ones((4, 8))
    >>> def apply_fn(key, x):
    ...     rngs = None if key is None else {"dropout": key}
    ...     return model.apply({}, x, deterministic=True, rngs=rngs)
    >>> assert_deterministic_eval(apply_fn, x)

    An NNX model holds its keys, so they are replaced:

    >>> import jaxdrop.nnx
    >>> from flax import nnx
    >>> net = nnx.Sequential(nnx.Linear(8, 8, rngs=nnx.Rngs(0)), jaxdrop.nnx.Dropout(0.5))
    >>> net.eval()
    >>> def apply_fn(key, x):
    ...     if key is not None:
    ...         nnx.reseed(net, dropout=key)
    ...     return net(x)
    >>> assert_deterministic_eval(apply_fn, x)
    """
    check_function(apply_fn, "apply_fn", "assert_deterministic_eval takes a function of (key, x)")
    try:
        expected = _leaves(apply_fn(None, x))
    except Exception as error:  # any exception of the model is the same finding
        if works_swapped(apply_fn, x, None):
            raise swapped("apply_fn") from error
        raise AssertionError(
            "expected an output in test mode without a key, but apply_fn(None, x) raised "
            f"{type(error).__name__}: {error}"
        ) from error
    if not expected:
        if works_swapped(apply_fn, x, None):
            raise swapped("apply_fn")
        raise ValueError("apply_fn(None, x) returned no array, so there is nothing to compare")
    _compare(expected, _leaves(apply_fn(None, x)), "a second call without a key")
    for seed in range(3):
        actual = _leaves(apply_fn(jax.random.key(seed), x))
        _compare(expected, actual, f"a call with jax.random.key({seed})")


def _leaves(tree: Any) -> dict[str, Any]:
    return {
        jax.tree_util.keystr(path): leaf if isinstance(leaf, jax.Array) else np.asarray(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def _compare(expected: dict[str, Any], actual: dict[str, Any], call: str) -> None:
    other_leaves = AssertionError(
        f"expected an output of the same structure in test mode, but {call} gave leaves "
        f"{list(actual)} where the first call without a key gave {list(expected)}"
    )
    with told(other_leaves):
        chex.assert_trees_all_equal_structs(expected, actual)
    for name, a in expected.items():
        b = actual[name]
        what = f"output{name}" if name else "the output"
        other_array = AssertionError(
            f"expected the same array in test mode, but {call} gave {b.dtype}{b.shape} for "
            f"{what} where the first call without a key gave {a.dtype}{a.shape}"
        )
        with told(other_array):
            chex.assert_trees_all_equal_shapes_and_dtypes(a, b)
        judge = functools.partial(_same_bits, what=what, call=call)
        assert_on_host(judge, a, b, caller="assert_deterministic_eval")


def _same_bits(a: np.ndarray, b: np.ndarray, what: str, call: str) -> None:
    """Raise an AssertionError with the first element that differs."""
    try:
        chex.assert_trees_all_equal(_bytes(a), _bytes(b))
    except AssertionError as failed:
        differ = (_bytes(a) != _bytes(b)).any(-1)
        i = first_place(differ.reshape(a.shape))
        raise AssertionError(
            f"expected the same bits in test mode, but {call} changed "
            f"{int(differ.sum())} of {a.size} elements of {what}, the first at "
            f"{i}: {b[i]!r} where the first call without a key gave "
            f"{a[i]!r}; without randomness the probability of this is 0"
        ) from failed


def _bytes(array: np.ndarray) -> np.ndarray:
    """View each element as its bytes: equal bits, so that NaN equals itself and 0 is not -0."""
    flat = np.ascontiguousarray(array).reshape(-1)
    return flat.view(np.uint8).reshape(flat.size, array.dtype.itemsize)
