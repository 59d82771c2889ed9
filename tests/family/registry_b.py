"""Members that drop weights, states, or at a learned rate; part of ``registry.members``."""

from typing import Any

import jax
import jax.numpy as jnp

import jaxdrop
from tests.family.registry import INVERTED, Member, TwoPoint


def _dense(key: Any, x: Any, rate: Any, deterministic: Any = False) -> jax.Array:
    return jaxdrop.drop_connect_dense(key, x, rate, kernel=_kernel(x), deterministic=deterministic)


def _kernel(x: Any) -> jax.Array:
    """A permutation: sums of one weight and zeros are exact, whatever the compiler does."""
    return jnp.eye(5, dtype=x.dtype)[::-1]


def _zoneout(key: Any, x: Any, rate: Any, deterministic: Any = False) -> jax.Array:
    return jaxdrop.zoneout(key, x, rate, previous=2 * x, deterministic=deterministic)


B_MEMBERS: list[Member] = [
    Member("drop_connect", jaxdrop.drop_connect, INVERTED),
    Member("weight_drop", jaxdrop.weight_drop, INVERTED),
    Member("recurrent_dropout", jaxdrop.recurrent_dropout, INVERTED),
    Member(
        "zoneout",
        _zoneout,
        TwoPoint(kept=lambda x, rate: x, dropped=lambda x, rate: 2 * x),
        unbiased=False,
        expectation=True,
        rate_one=lambda x: 2 * x,
    ),
    Member(
        "drop_connect_dense",
        _dense,
        None,  # a sum of dropped weights
        test_time=lambda x: x @ _kernel(x),
        diagonal=False,
        lean=False,  # the kernel is kept
    ),
    Member(
        "concrete_dropout",
        jaxdrop.concrete_dropout,
        None,  # continuous between zero and x / (1 - rate)
        unbiased=False,
        lean=False,  # x is kept, for the gradient of the rate
        traced_rate=False,  # it may be, but a gradient flows to it
    ),
]
