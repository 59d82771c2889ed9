"""Members that drop weights, states, or at a learned rate; part of ``registry.members``."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tests.functional.registry import INVERTED, Member, Normal, TwoPoint


def _kernel(x: Any) -> jax.Array:
    """A permutation: sums of one weight and zeros are exact, whatever the compiler does."""
    return jnp.eye(5, dtype=x.dtype)[::-1]


LOG_ALPHA = -1.5


def _noisy(x: Any) -> dict[str, Any]:
    return {"kernel": _kernel(x), "log_sigma2": jnp.full_like(_kernel(x), LOG_ALPHA)}


def _noisy_window(x: Any) -> dict[str, Any]:
    kernel = jnp.stack([0 * _kernel(x), _kernel(x), 0 * _kernel(x)])
    return {"kernel": kernel, "log_sigma2": jnp.full_like(kernel, LOG_ALPHA)}


def _spread(x: np.ndarray) -> np.ndarray:
    """The standard deviation that a window of three positions gives, by NumPy."""
    squares = np.pad((x**2).sum(-1, keepdims=True), ((0, 0), (1, 1), (0, 0)))
    window = squares[:, :-2] + squares[:, 1:-1] + squares[:, 2:]
    return np.sqrt(window * math.exp(LOG_ALPHA))


NOISY_WEIGHTS: dict[str, Any] = dict(
    test_time=lambda x: x @ _kernel(x),
    rate_one=None,
    diagonal=False,
    lean=False,
    affine=False,
    rated=False,
    traced_rate=False,
    complex_input=False,
)

B_MEMBERS: list[Member] = [
    Member("drop_connect", INVERTED),
    Member("weight_drop", INVERTED),
    Member("recurrent_dropout", INVERTED),
    Member(
        "zoneout",
        TwoPoint(kept=lambda x, rate: x, dropped=lambda x, rate: 2 * x),
        options=lambda x: {"previous": 2 * x},
        unbiased=False,
        expectation=True,
        rate_one=lambda x: 2 * x,
    ),
    Member(
        "drop_connect_dense",
        None,  # a sum of dropped weights
        options=lambda x: {"kernel": _kernel(x)},
        test_time=lambda x: x @ _kernel(x),
        diagonal=False,
        lean=False,  # the kernel is kept
    ),
    Member(
        "drop_connect_dense",
        None,
        options=lambda x: {"kernel": _kernel(x), "per_example": True},
        test_time=lambda x: x @ _kernel(x),
        diagonal=False,
        lean=False,
    ),
    Member(
        "concrete_dropout",
        None,  # continuous between zero and x / (1 - rate)
        unbiased=False,
        lean=False,  # x is kept, for the gradient of the rate
        traced_rate=False,  # it may be, but a gradient flows to it
    ),
    Member(
        "variational_dropout",
        Normal(mean=lambda x, _: x, std=lambda x, _: abs(x) * math.exp(LOG_ALPHA / 2)),
        options=lambda x: {"log_alpha": LOG_ALPHA},
        rate_one=None,
        rated=False,
        traced_rate=False,
    ),
    Member(
        "variational_dense",
        Normal(
            mean=lambda x, _: x[..., ::-1],
            std=lambda x, _: (x**2).sum(-1, keepdims=True) ** 0.5 * math.exp(LOG_ALPHA / 2) + 0 * x,
        ),
        options=_noisy,
        **NOISY_WEIGHTS,
    ),
    Member(
        "variational_conv",
        Normal(mean=lambda x, _: x[..., ::-1], std=lambda x, _: _spread(x) + 0 * x),
        options=_noisy_window,
        **NOISY_WEIGHTS,
    ),
]
