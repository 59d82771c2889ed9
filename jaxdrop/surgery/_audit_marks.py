"""mark: an identity that stands in a traced program where a layer begins or ends."""

from typing import Any, Literal

import jax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from jaxdrop._core.broadcast import batch_first
from jaxdrop._core.varying import alike

Place = Literal["in", "out", "norm"]
"""The input of a dropout, its result, the input of a batch norm."""


def mark(x: jax.Array, place: Place, number: int, seen: Any = None) -> jax.Array:
    """Return x unchanged, but marked.

    Args:
      x: array.
      place: what stands here.
      number: of the dropout; 0 for a batch norm.
      seen: what to record in place of x, such as a mask that is not part of it.
    """
    return mark_p.bind(
        *alike(x, *([] if seen is None else [seen])), place=place, number=number, lanes=0
    )


def lanes_of(eqn: Any) -> int:
    """Return how many leading dimensions of a mark's operands ``jax.vmap`` has added."""
    return int(eqn.params["lanes"])


def _batch(args: Any, dims: Any, *, place: Any, number: int, lanes: int) -> Any:
    size = next(a.shape[d] for a, d in zip(args, dims, strict=True) if d is not None)
    first = [batch_first(a, d, size) for a, d in zip(args, dims, strict=True)]
    return mark_p.bind(*alike(*first), place=place, number=number, lanes=lanes + 1), 0


def _tangent(primals: Any, tangents: Any, **params: Any) -> Any:
    return mark_p.bind(*primals, **params), tangents[0]


mark_p = Primitive("jaxdrop_surgery_mark")
mark_p.def_impl(lambda x, *seen, **params: x)
mark_p.def_abstract_eval(lambda x, *seen, **params: x)
ad.primitive_jvps[mark_p] = _tangent
batching.primitive_batchers[mark_p] = _batch
mlir.register_lowering(mark_p, lambda context, x, *seen, **params: [x])
