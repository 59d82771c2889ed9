"""mode: whether there is anything to draw, which every member of the family asks first."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxdrop._core.checks import check_deterministic
from jaxdrop._core.key import Words, check_key, key_words
from jaxdrop._core.rate import Rate


def resolve(
    key: Any, rate: Rate, deterministic: Any, caller: str, *, draws_at_one: bool = False
) -> tuple[Any, Any]:
    """Return (the key's words, test mode); the key is not looked at where none is needed.

    The test mode is True when nothing is to be drawn (at test time, or a rate that is known to be
    0), False, or a traced bool. In training at rate 1 all is dropped and the key is None, unless
    the caller ``draws_at_one``: a position, for example, or a choice of tokens.
    """
    if not draws_at_one and _drops_all(rate, deterministic):
        return None, False
    return resolve_noise(key, rate.never, deterministic, caller)


def resolve_noise(key: Any, never: bool, deterministic: Any, caller: str) -> tuple[Any, Any]:
    """``resolve`` for noise that is not given by a rate; ``never``: it is known to be 0."""
    key, test_mode = _checked(key, never, deterministic, caller)
    return key if test_mode is True else Words(key_words(key)), test_mode


def resolve_key(key: Any, rate: Rate, deterministic: Any, caller: str) -> tuple[Any, Any]:
    """``resolve`` for a caller that derives other keys from the key."""
    if _drops_all(rate, deterministic):
        return None, False
    return _checked(key, rate.never, deterministic, caller)


def _drops_all(rate: Rate, deterministic: Any) -> bool:
    return rate.always and check_deterministic(deterministic) is False


def _checked(key: Any, never: bool, deterministic: Any, caller: str) -> tuple[Any, Any]:
    test_mode = check_deterministic(deterministic)
    if never or test_mode is True:
        return key, True
    return check_key(key, caller), test_mode


def choose(test_mode: Any, at_test: jax.Array, in_training: jax.Array) -> jax.Array:
    """Return the result of the mode, which may be traced."""
    return in_training if test_mode is False else jnp.where(test_mode, at_test, in_training)
