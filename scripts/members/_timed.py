"""Timed: one line of ``scripts/bench family``, a member's call that is timed over a plain one."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

TIMED_RATE = 0.1
TIMED_SHAPE = (2048, 2048)
TIMED_MAPS = (-1, 32, 32, 64)  # 64 of them in TIMED_SHAPE


class Timed(NamedTuple):
    """One call.

    Attributes:
      name: in the table.
      apply: ``(key, x) -> array like x``; of a learned one ``(key, x, learned)``, of a layer
        ``(key, x, kernel) -> outputs``.
      kind: "element-wise", "neighbours", "learned" or "layer", as family.py explains.
      backward: the gradient is timed, too.
      start: of a learned one, what is learned.
    """

    name: str
    apply: Callable[..., jax.Array]
    kind: str = "element-wise"
    backward: bool = True
    start: float | None = None


def plain(function: Callable[..., jax.Array], **options: Any) -> Callable[..., jax.Array]:
    """Apply the function to x at TIMED_RATE."""
    return lambda key, x: function(key, x, TIMED_RATE, **options)


def over_maps(function: Callable[..., jax.Array], **options: Any) -> Callable[..., jax.Array]:
    """Apply the function to x seen as a batch of feature maps."""
    return lambda key, x: function(key, x.reshape(TIMED_MAPS), TIMED_RATE, **options).reshape(
        x.shape
    )
