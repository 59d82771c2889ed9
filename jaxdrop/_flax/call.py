"""What the family's Linen and NNX layers share: a key is drawn only where one is needed."""

import numbers
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jaxdrop._core.checks import check_deterministic, check_input, is_real
from jaxdrop._core.key import is_deleted


def call(
    function: Callable[..., jax.Array],
    draw_key: Callable[[], jax.Array],
    inputs: Any,
    rate: Any,
    deterministic: Any,
    **options: Any,
) -> jax.Array:
    """Call a member of the family, without a key in test mode and at rate 0."""
    rate, mode = known_rate(rate), known_mode(deterministic)
    key = None if is_idle(mode, rate) else draw_key()
    return function(key, inputs, rate, deterministic=mode, **options)


def check_features(inputs: Any, layer: Any) -> jax.Array:
    """Return the inputs of a layer that multiplies by their last dimension, or raise a sentence.

    Integers are promoted by flax, as in its own layers.
    """
    name = type(layer).__name__
    array = check_input(inputs, name, "inputs", integers=True)
    if not array.ndim:
        raise ValueError(f"got inputs of shape (), one number; {name} takes (..., features)")
    return array


def known_mode(deterministic: Any) -> Any:
    """Return a Python bool where the mode is known, else the traced bool scalar.

    As in flax, a concrete array counts as the value it holds. A number is no mode: it is another
    argument that got into its place.
    """
    if isinstance(deterministic, np.ndarray) and deterministic.ndim == 0:
        deterministic = deterministic[()]
    mode = check_deterministic(deterministic)
    return mode if isinstance(mode, jax.core.Tracer) else bool(mode)


def known_rate(rate: Any) -> Any:
    """Return a rate that is known to be 0 or 1 as a Python number; of a tuple, each entry.

    The functions know a rate before tracing by its being a number and no array.
    """
    if isinstance(rate, (tuple, list)):
        return tuple(map(known_rate, rate))
    if isinstance(rate, np.ndarray) and rate.ndim == 0:
        return rate[()]
    if is_known_scalar(rate) and is_real(rate.dtype) and float(rate) in (0.0, 1.0):
        return float(rate)
    return rate


def is_idle(mode: Any, *rates: Any) -> bool:
    """Whether nothing is drawn: in test mode, and where every rate is known to be 0.

    Mode and rates are those of ``known_mode`` and ``known_rate``. A layer of learned noise has no
    rate and gives none.
    """
    return mode is True or bool(rates) and all(map(_is_zero, rates))


def is_known_scalar(value: Any) -> bool:
    """Whether it is an array of one number that can be looked at before tracing."""
    known = isinstance(value, jax.Array) and not isinstance(value, jax.core.Tracer)
    return known and value.ndim == 0 and not is_deleted(value)


def _is_zero(rate: Any) -> bool:
    if isinstance(rate, tuple):
        return all(map(_is_zero, rate))
    return isinstance(rate, numbers.Real) and not isinstance(rate, bool) and rate == 0
