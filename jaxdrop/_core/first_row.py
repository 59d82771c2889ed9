"""first_row: where the rows of a microbatch begin, said to who divides a batch.

``make_train_step(accumulate=k)`` gives a microbatch its part of each draw that it finds in the loss
function. Into a function with a gradient of its own, such as the ring of attention, it cannot look;
what it can do is to move the row at which that function's draws begin, if it is shown which it is.
"""

from contextlib import AbstractContextManager
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import batching, mlir

_ASKED = jax.make_user_context(False)  # a jitted function is traced again where it is another one


def showing_first_rows() -> AbstractContextManager[Any]:
    """``with showing_first_rows():`` a function that is traced shows where its rows begin."""
    context: AbstractContextManager[Any] = _ASKED(True)
    return context


def first_row(number: Any, rows: int, axes: tuple[str, ...]) -> Any:
    """Return the number of an array's first row, marked in the program if that is asked for.

    Args:
      number: int32, or a Python integer.
      rows: how many rows the array has.
      axes: the mesh axes that split them.
    """
    if not _ASKED.value:
        return number
    return _first_row_p.bind(jnp.asarray(number, jnp.int32), rows=rows, axes=axes)


def _unchanged(number: Any, **params: Any) -> Any:
    return number


_first_row_p = Primitive("first_row")
_first_row_p.def_impl(_unchanged)
_first_row_p.def_abstract_eval(_unchanged)
batching.primitive_batchers[_first_row_p] = lambda args, dims, **params: (
    _first_row_p.bind(*args, **params),
    dims[0],
)
mlir.register_lowering(_first_row_p, lambda ctx, number, **params: [number])
