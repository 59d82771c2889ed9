"""Panel: one image of the gallery, drawn by a member's own function."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

N = 24
"""Rows and columns of an image."""

DRAWN_RATE = 0.3


class Panel(NamedTuple):
    """One image: rows and columns say what its axes are."""

    title: str
    rows: str
    columns: str
    draw: Callable[[jax.Array], Any]


def square(function: Callable[..., jax.Array], **options: Any) -> Callable[[jax.Array], Any]:
    """Apply the function to N x N ones."""
    return lambda key: function(key, jnp.ones((N, N)), DRAWN_RATE, **options)


def in_maps(function: Callable[..., jax.Array], side: int, **options: Any) -> Callable:
    """Apply the function to one example whose maps are then laid side by side."""
    across = N // side

    def draw(key: jax.Array) -> np.ndarray:
        y = np.asarray(function(key, jnp.ones((1, side, side, across**2)), DRAWN_RATE, **options))[
            0
        ]
        return y.reshape(side, side, across, across).transpose(2, 0, 3, 1).reshape(N, N)

    return draw
