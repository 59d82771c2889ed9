"""The dropouts whose behaviour ``scripts/prove peers`` puts side by side."""

from collections.abc import Callable
from typing import Any

import jax
from flax import linen, nnx

import jaxdrop.linen

RATE = 0.3
Drop = Callable[..., jax.Array]


def _linen(module: Any) -> Drop:
    return lambda key, x, rate=RATE, **options: module.Dropout(
        rate, deterministic=False, **options
    ).apply({}, x, rng=key)


def _nnx(module: Any) -> Drop:
    return lambda key, x, rate=RATE, **options: module.Dropout(
        rate, deterministic=False, **options
    )(x, rngs=key)


MODULES: dict[str, Drop] = {
    "flax Linen": _linen(linen),
    "flax NNX": _nnx(nnx),
    "jaxdrop": _linen(jaxdrop.linen),
}


def key() -> jax.Array:
    return jax.random.key(0)


def inputs(*shape: int) -> jax.Array:
    return jax.random.normal(jax.random.key(1), shape)
