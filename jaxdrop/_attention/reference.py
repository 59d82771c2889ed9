"""Attention with all weights in memory: what the other ways to compute it are compared with."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from jaxdrop._attention.problem import Drop, Problem, all_of, logits_of, values_of


@functools.partial(jax.jit, inline=True)
def reference(given: Problem) -> jax.Array:
    """Return [B, N, T, H]; a row that attends to nothing is 0."""
    q, k, v, bias, mask, scale, pairs, drop = given
    logits = logits_of(q, k, scale, bias)
    allowed = all_of([mask, pairs.allowed(0, 0, (q.shape[2], k.shape[2]))])
    return values_of(weights(logits, allowed, drop), v).astype(v.dtype)


def weights(logits: jax.Array, allowed: Any, drop: Drop | None) -> jax.Array:
    """Return the weights after dropout."""
    if allowed is not None:
        logits = jnp.where(allowed, logits, -jnp.inf)
    if drop is not None:
        logits = drop.keys(logits, 0, 0)
    top = jnp.max(logits, axis=-1, keepdims=True)
    top = jax.lax.stop_gradient(jnp.where(top == -jnp.inf, 0, top))
    p = jnp.exp(logits - top)
    total = jnp.sum(p, axis=-1, keepdims=True)
    p = p / jnp.where(total == 0, 1, total)
    return p if drop is None else drop.weights(p, 0, 0)
