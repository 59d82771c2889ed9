"""What the family's Linen and NNX layers share: a key is drawn only where one is needed."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np


def call(
    function: Callable[..., jax.Array],
    draw_key: Callable[[], jax.Array],
    inputs: Any,
    rate: Any,
    deterministic: Any,
    **options: Any,
) -> jax.Array:
    """Call a member of the family, without a key in test mode and at rate 0.

    As in flax, a mode that is a concrete array counts as the value it holds.
    """
    if isinstance(deterministic, (int, np.bool_)) or _is_known(deterministic):
        deterministic = bool(deterministic)
    idle = deterministic is True or (isinstance(rate, (int, float)) and rate == 0)
    key = None if idle else draw_key()
    return function(key, inputs, rate, deterministic=deterministic, **options)


def _is_known(value: Any) -> bool:
    return isinstance(value, jax.Array) and not isinstance(value, jax.core.Tracer)
