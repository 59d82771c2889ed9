"""Attention under the transformations of JAX: the same numbers."""

from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdrop import dot_product_attention
from tests.attention.cases import (
    KEY,
    KEYS,
    Q,
    V,
    ours,
)

TRANSFORMS: dict[str, Callable[[Any], Any]] = {
    "jit": jax.jit,
    "remat": jax.checkpoint,
    "vmap": lambda f: lambda q: jax.vmap(f)(jnp.stack([q, q]))[1],
    "scan": lambda f: lambda q: jax.lax.scan(lambda _, x: (None, f(x)), None, q[None])[1][0],
}


@pytest.mark.slow
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_transforms_change_no_number(transform: str) -> None:
    def attend(q: jax.Array) -> jax.Array:
        return ours(q, KEYS, V, rate=0.3, is_causal=True, block_q=8, block_kv=16)

    def squares(f: Callable[[Any], Any]) -> Any:
        return jax.jit(jax.value_and_grad(lambda q: jnp.sum(f(q) ** 2)))(Q)

    found, expected = squares(TRANSFORMS[transform](attend)), squares(attend)
    chex.assert_trees_all_close(found, expected, rtol=1e-5, atol=1e-5)


def test_keys_may_be_mapped() -> None:
    keys = jax.random.split(KEY, 3)

    def attend(key: jax.Array) -> jax.Array:
        return dot_product_attention(Q, KEYS, V, dropout_rate=0.5, dropout_key=key, block_kv=16)

    np.testing.assert_allclose(
        jax.vmap(attend)(keys), jnp.stack([attend(key) for key in keys]), atol=5e-6
    )


@pytest.mark.slow
def test_forward_over_reverse() -> None:
    def loss(q: jax.Array) -> jax.Array:
        return jnp.sum(ours(q, KEYS[:, :6], V[:, :6], rate=0.5, block_kv=4) ** 2)

    small = Q[:, :5]
    slope = jax.jit(lambda q: jax.jvp(loss, (q,), (q,))[1])(small)
    gradient, bend = jax.jit(lambda q: jax.jvp(jax.grad(loss), (q,), (q,)))(small)
    np.testing.assert_allclose(slope, jnp.vdot(gradient, small), rtol=1e-4)
    assert jnp.isfinite(bend).all()


def test_a_traced_rate_and_mode_draw_the_same_mask() -> None:
    @jax.jit
    def attend(rate: jax.Array, mode: jax.Array) -> jax.Array:
        return ours(Q, KEYS, V, rate=rate, deterministic=mode)

    same = ours(Q, KEYS, V, rate=0.25)
    np.testing.assert_allclose(attend(jnp.float32(0.25), jnp.bool_(False)), same, atol=5e-6)
    plain = dot_product_attention(Q, KEYS, V)
    np.testing.assert_allclose(attend(jnp.float32(0.25), jnp.bool_(True)), plain, atol=5e-6)
