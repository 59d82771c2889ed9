"""Value checks that work inside compiled functions as well, where chex reports what failed.

A check is stated on the device (``assert_equal``), or, where it needs exact tails or float64, as a
function of host arrays that raises (``assert_on_host``), which a compiled program calls back.
"""

from collections.abc import Callable
from typing import Any

import chex
import jax
import numpy as np

_LONGEST = 600  # bytes of a sentence


def is_traced(tree: Any) -> bool:
    """Return whether an array in the tree is known on the device only."""
    return any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(tree))


def assert_equal(actual: Any, expected: Any, caller: str, sentence: str, *numbers: Any) -> None:
    """Assert by chex that two arrays are equal; the sentence has a ``{}`` for each of the numbers.

    Raises:
      AssertionError: if they differ; of traced arrays, when the program has run.
      TypeError: if they are traced, and not inside a function that is wrapped in chex.chexify.
    """
    try:
        chex.assert_trees_all_equal(
            actual, expected, custom_message=sentence, custom_message_format_vars=numbers
        )
    except RuntimeError as error:  # chex's: there is no chexify around
        raise TypeError(
            f"got a traced array, a Tracer, in {caller}, whose values are not known here: wrap the "
            "outermost compiled function, as in step = chex.chexify(jax.jit(step)), or give "
            f"{caller} an array that the function returned"
        ) from error


def assert_on_host(judge: Callable[..., None], *arrays: Any, caller: str) -> None:
    """Call ``judge`` with NumPy arrays; what it raises is raised.

    If an array is traced, the compiled program calls it, and an AssertionError or ValueError is a
    failed assertion of chex with the same sentence.
    """
    if not is_traced(arrays):
        judge(*map(np.asarray, arrays))
        return

    def called_back(*arrays: Any) -> np.ndarray:
        try:
            with np.errstate(all="ignore"):  # an x that another check found unfit comes here, too
                judge(*map(np.asarray, arrays))
        except (AssertionError, ValueError) as error:
            said = str(error).encode()[:_LONGEST]
            return np.frombuffer(said.ljust(_LONGEST, b"\0"), np.uint8)
        return np.zeros(_LONGEST, np.uint8)

    letters = jax.pure_callback(
        called_back,
        jax.ShapeDtypeStruct((_LONGEST,), np.uint8),
        *jax.lax.stop_gradient(arrays),
        vmap_method="sequential",
    )
    assert_equal(letters.any(), jax.numpy.zeros((), bool), caller, "{}", _Sentence(letters))


@jax.tree_util.register_pytree_node_class
class _Sentence:
    """Text that a program carries as bytes: checkify's messages take trees of arrays only."""

    def __init__(self, letters: Any):
        self.letters = letters

    def __str__(self) -> str:
        return bytes(np.asarray(self.letters)).rstrip(b"\0").decode(errors="ignore")

    def tree_flatten(self) -> tuple[tuple[Any], None]:
        return (self.letters,), None

    @classmethod
    def tree_unflatten(cls, _: None, children: tuple[Any]) -> "_Sentence":
        return cls(*children)
