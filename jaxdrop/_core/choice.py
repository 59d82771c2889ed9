"""A fixed number of things, chosen at random: what can be left out of a computation."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdrop._core.bits import random_bits
from jaxdrop._core.mesh import Names
from jaxdrop._core.rate import Rate
from jaxdrop._core.varying import alike


def choose_indices(key: Any, shape: tuple[int, ...], kept: int, names: Names = ()) -> jax.Array:
    """Choose ``kept`` of n, for each row of (*rows, n) apart from the others.

    The ones with the smallest of ``random_bits(key, shape)``, so that every subset is equally
    likely, except for ties of two 32-bit words (P < n**2 / 2**33), which go to the earlier one.

    ``names`` are those of ``placed``; no mesh axis may split the last dimension.

    Returns:
      int32 array (*rows, kept), increasing along the last dimension.
    """
    bits = random_bits(key, shape, mesh_axes=names)
    order, _ = alike(jnp.argsort(bits, axis=-1)[..., :kept], bits)  # argsort loses the marks
    return jnp.sort(order, axis=-1).astype(jnp.int32)


def share(n: int, rate: float) -> float:
    """Return n (1 - rate), slightly more than the product: 10 (1 - 0.9) is one, and not none."""
    return n * (1 - rate) + 1e-9


def whole_share(n: int, rate: float) -> int:
    """Return n (1 - rate), rounded to the nearest integer; halves are rounded up."""
    return math.floor(share(n, rate) + 0.5)


def static_rate(rate: Rate, given: Any, caller: str, what: str) -> float:
    """Return the rate as a number; a shape follows from it."""
    if not isinstance(rate.value, float):
        raise TypeError(
            f"got rate={given!r:.60}; {caller} takes a Python number, since the number of "
            f"{what} it keeps is a shape: compile once for each rate of a schedule"
        )
    return rate.value


def static_mode(deterministic: Any, caller: str) -> bool:
    """Return the mode as a Python bool; a shape follows from it."""
    if not isinstance(deterministic, (bool, np.bool_)):
        raise TypeError(
            f"got deterministic={deterministic!r:.60}; {caller} takes a Python bool, since "
            "the shape of its result follows from it"
        )
    return bool(deterministic)
