"""call: how a Linen or NNX layer calls a member, with a key only where something is drawn."""

import numbers
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jaxdrop._core.checks import check_deterministic, check_input, is_real
from jaxdrop._core.key import is_deleted, is_typed
from jaxdrop._core.rate import ROUNDING


def call(
    function: Callable[..., jax.Array],
    draw_key: Callable[[], jax.Array],
    inputs: Any,
    rate: Any,
    deterministic: Any,
    *,
    draws_at_one: bool = False,
    **options: Any,
) -> jax.Array:
    """Call a member of the family, without a key where its result is known without one.

    At rate 1 it is, unless the member ``draws_at_one``: a position, noise, or a choice of tokens.
    """
    rate, mode = known_rate(rate), known_mode(deterministic)
    drawn = not is_idle(mode, rate) if draws_at_one else needs_key(mode, rate)
    key = draw_key() if drawn else None
    return function(key, inputs, rate, deterministic=mode, **options)


def is_idle(mode: Any, *rates: Any) -> bool:
    """Whether nothing is dropped: in test mode, and where every rate is known to be 0.

    Mode and rates are those of ``known_mode`` and ``known_rate``. A layer of learned noise has no
    rate and gives none.
    """
    return mode is True or bool(rates) and all(map(_is_zero, rates))


def needs_key(mode: Any, *rates: Any) -> bool:
    """Whether anything is left to chance: not where all is kept, and not where all is dropped.

    Where the mode is traced, only rates of 0 need no key.
    """
    return not (is_idle(mode, *rates) or mode is False and rates and all(map(_is_sure, rates)))


def known_mode(deterministic: Any) -> Any:
    """Return a Python bool where the mode is known, else the traced bool scalar.

    As in flax, a concrete array counts as the value it holds. A number is refused: it is another
    argument in the wrong place.
    """
    if isinstance(deterministic, np.ndarray) and deterministic.ndim == 0:
        deterministic = deterministic[()]
    mode = check_deterministic(deterministic)
    return mode if isinstance(mode, jax.core.Tracer) else bool(mode)


def mode_from_number(deterministic: Any) -> Any:
    """Return a bool for a number, which may stand for the mode of flax's own ``Dropout``."""
    known = _is_known_scalar(deterministic) and not is_typed(deterministic)
    return bool(deterministic) if known or isinstance(deterministic, int) else deterministic


def known_rate(rate: Any) -> Any:
    """Return a rate that is known to be 0 or 1 as a Python number; of a tuple, each entry.

    To the functions, a rate is known before tracing if it is a number and not an array.
    """
    if isinstance(rate, (tuple, list)):
        return tuple(map(known_rate, rate))
    if isinstance(rate, np.ndarray) and rate.ndim == 0:
        return rate[()]
    if _is_known_scalar(rate) and is_real(rate.dtype) and float(rate) in (0.0, 1.0):
        return float(rate)
    return rate


def check_features(inputs: Any, layer: Any) -> jax.Array:
    """Return the inputs of a layer that multiplies by their last dimension, or raise an error.

    Integers are promoted by flax, as in its own layers.
    """
    name = type(layer).__name__
    array = check_input(inputs, name, "inputs", integers=True)
    if not array.ndim:
        raise ValueError(f"got inputs of shape (), one number; {name} takes (..., features)")
    return array


def _is_known_scalar(value: Any) -> bool:
    """Whether it is an array of one number whose value is known before tracing."""
    known = isinstance(value, jax.Array) and not isinstance(value, jax.core.Tracer)
    return known and value.ndim == 0 and not is_deleted(value)


def _is_zero(rate: Any) -> bool:
    if isinstance(rate, tuple):
        return all(map(_is_zero, rate))
    return _is_number(rate) and -ROUNDING <= rate <= 0


# A rate out of range needs no key either: the function refuses it.
def _is_sure(rate: Any) -> bool:
    if isinstance(rate, tuple):
        return all(map(_is_sure, rate))
    return _is_number(rate) and (rate <= 0 or rate >= 1)


def _is_number(rate: Any) -> bool:
    return isinstance(rate, numbers.Real) and not isinstance(rate, bool)
