"""jaxdrop.dot_product_attention: what it computes, however it is computed."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdrop import attention_keep_mask, dot_product_attention
from tests.attention.cases import (
    BIAS,
    KEY,
    KEYS,
    MASK,
    RULES,
    WAYS,
    B,
    N,
    Q,
    S,
    T,
    V,
    ours,
)
from tests.attention.truth import truth


@pytest.mark.slow
@pytest.mark.parametrize("on", ["weights", "keys"])
@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("way", WAYS)
def test_it_is_what_its_definition_says(way: str, rules: str, on: str) -> None:
    """In float32: sums of 27 numbers of about 1, divided by 1 - rate."""
    for rate in (0.1, 0.5):
        arrays = (Q, KEYS, V, BIAS, MASK)
        found = ours(*arrays, rate=rate, on=on, **RULES[rules], **WAYS[way])
        expected = truth(*arrays, rate=rate, key=KEY, on=on, **RULES[rules])
        np.testing.assert_allclose(found, expected, rtol=0, atol=5e-6)


def test_another_mask_is_far_away() -> None:
    """The tolerance above would notice one."""
    found = ours(Q, KEYS, V, rate=0.1)
    other = truth(Q, KEYS, V, rate=0.1, key=jax.random.key(8))
    assert np.abs(found - other).max() > 0.1


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("on", ["weights", "keys"])
def test_rate_one_is_zero_without_a_key(way: str, on: Any) -> None:
    def loss(q: jax.Array) -> jax.Array:
        y = dot_product_attention(q, KEYS, V, dropout_rate=1.0, dropout_on=on, **WAYS[way])
        return jnp.sum(y)

    assert loss(Q) == 0 and not jax.grad(loss)(Q).any()


@pytest.mark.slow
def test_the_reference_s_gradient_is_the_change_of_its_value() -> None:
    """In float64, against a difference of two values."""
    with jax.enable_x64(True):
        arrays = [jnp.asarray(a, jnp.float64) for a in (Q, KEYS, V, BIAS)]

        @jax.jit
        def loss(*arrays: Any) -> jax.Array:
            y = ours(*arrays, MASK, rate=0.3, implementation="reference")
            return jnp.sum(jnp.sin(y))

        ways = [jnp.asarray(np.random.default_rng(1).normal(size=a.shape)) for a in arrays]
        step = 1e-6
        ahead, behind = (
            loss(*(a + s * w for a, w in zip(arrays, ways, strict=True))) for s in (step, -step)
        )
        _, slope = jax.jvp(loss, tuple(arrays), tuple(ways))
        gradients = jax.grad(loss, argnums=(0, 1, 2, 3))(*arrays)
        product = sum(jnp.vdot(g, w) for g, w in zip(gradients, ways, strict=True))
        # The third derivative times step^2, and rounding of 1e-16 over step.
        np.testing.assert_allclose((ahead - behind) / (2 * step), slope, rtol=1e-7)
        np.testing.assert_allclose(product, slope, rtol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["reference", "tiles"])
def test_a_row_that_attends_to_nothing_is_zero_and_so_is_its_gradient(way: str) -> None:
    mask = jnp.ones((B, 1, T, S), bool).at[:, :, 3].set(False)

    def loss(q: jax.Array) -> jax.Array:
        return jnp.sum(jnp.sin(ours(q, KEYS, V, None, mask, rate=0.2, **WAYS[way])))

    y = ours(Q, KEYS, V, None, mask, rate=0.2, **WAYS[way])
    gradient = jax.grad(loss)(Q)
    assert not y[:, 3].any() and not gradient[:, 3].any()
    assert jnp.isfinite(gradient).all() and jnp.isfinite(y).all()


def test_queries_beyond_their_length_are_zero() -> None:
    lengths = jnp.array([5, 21])
    y = ours(Q, KEYS, V, rate=0.2, query_seq_lengths=lengths)
    assert not y[0, 5:].any() and y[0, :5].all()


@pytest.mark.parametrize("way", ["reference", "tiles"])
def test_bfloat16_is_rounded_once_for_each_product(way: str) -> None:
    """Weights up to 1 / (1 - rate) and values are rounded to 8 bits; so is the result."""
    q, k, v = (a.astype(jnp.bfloat16) for a in (Q, KEYS, V))
    y = ours(q, k, v, rate=0.1, **WAYS[way])
    assert y.dtype == jnp.bfloat16
    expected = truth(q, k, v, rate=0.1, key=KEY)
    size = np.einsum("bnts,bsnh->btnh", np.ones((B, N, T, S)) / S, np.abs(np.repeat(v, 2, 2)))
    assert (
        np.abs(np.asarray(y, np.float64) - expected) <= 2**-7 * (np.abs(expected) + 9 * size)
    ).all()


def test_a_rate_for_each_head() -> None:
    rates = np.array([0.0, 0.1, 0.5, 1.0], np.float32).reshape(1, N, 1, 1)
    y = ours(Q, KEYS, V, rate=rates, block_kv=16)
    for head, rate in enumerate(rates.ravel().tolist()):
        expected = truth(Q, KEYS, V, rate=rate, key=KEY)
        np.testing.assert_allclose(y[:, :, head], expected[:, :, head], atol=5e-6)
    assert not y[:, :, 3].any()


def test_test_time_and_rate_zero_are_jax_s_own() -> None:
    """To the bit, and with jax's implementations."""
    expected = jax.nn.dot_product_attention(Q, KEYS, V, BIAS, MASK, is_causal=True)
    for options in ({"deterministic": True}, {"dropout_rate": 0.0}, {"implementation": "xla"}):
        given = {"dropout_rate": 0.5} | options | ({"dropout_rate": 0} if len(options) else {})
        found = dot_product_attention(Q, KEYS, V, BIAS, MASK, is_causal=True, **given)
        np.testing.assert_array_equal(found, expected)


def test_blocks_without_dropout_are_jax_s_to_rounding() -> None:
    expected = jax.nn.dot_product_attention(Q, KEYS, V, BIAS, is_causal=True)
    found = dot_product_attention(Q, KEYS, V, BIAS, is_causal=True, block_q=8, block_kv=8)
    # block sizes are for "blockwise", which is not what None means without dropout
    np.testing.assert_array_equal(found, expected)
    found = dot_product_attention(
        Q, KEYS, V, BIAS, is_causal=True, block_q=8, block_kv=8, implementation="blockwise"
    )
    np.testing.assert_allclose(found, expected, atol=5e-6)


def test_one_example_needs_no_batch() -> None:
    y = ours(Q[0], KEYS[0], V[0], rate=0.5)
    np.testing.assert_allclose(y, ours(Q, KEYS, V, rate=0.5)[0], atol=5e-6)


def test_wrong_use_is_told_in_a_sentence() -> None:
    for given, error, said in (
        ({"dropout_rate": 0.5}, ValueError, "needs a random key and got None"),
        (
            {"dropout_rate": 0.5, "dropout_key": KEYS},
            TypeError,
            "as dropout_key, expected a random key",
        ),
        ({"key": KEY}, TypeError, "got a random key as key, expected the keys of attention"),
        ({"mask": jnp.ones((B, 1, T, S))}, TypeError, "got a mask of dtype float32"),
        ({"mask": jnp.ones((B, 1, S, T), bool)}, ValueError, "got mask of shape"),
        ({"block_q": 0}, ValueError, "got block_q=0, expected a whole number of at least 1"),
        ({"block_kv": 2.5}, TypeError, "got block_kv=2.5"),
        ({"block_q": 8, "implementation": "reference"}, ValueError, "which has no tiles"),
        ({"implementation": "flash"}, ValueError, "expected 'reference' or 'blockwise'"),
        (
            {"implementation": "xla", "dropout_rate": 0.5, "dropout_key": KEY},
            ValueError,
            "does not have: leave implementation out",
        ),
        ({"value": V[:, :3]}, ValueError, "expected key and value of one shape"),
        ({"query": Q[:, :, :3]}, ValueError, "got 3 heads of queries and 2 of keys"),
    ):
        arguments = {"query": Q, "key": KEYS, "value": V} | given
        with pytest.raises(error, match=said):
            dot_product_attention(**arguments)


def test_the_mask_is_keep_mask_s() -> None:
    shape = (2, 3, 4, 5)
    whole = attention_keep_mask(KEY, shape, 0.5)
    part = attention_keep_mask(KEY, (1, 3, 2, 5), 0.5, index_offset=(1, 0, 2), global_shape=shape)
    np.testing.assert_array_equal(part, whole[1:, :, 2:])
    shared = attention_keep_mask(KEY, shape, 0.5, broadcast_dropout_dims=(0, 1))
    assert (shared == shared[:1, :1]).all()
    with pytest.raises(ValueError, match="expected \\(batch, query heads, queries, keys\\)"):
        attention_keep_mask(KEY, (2, 3), 0.5)


def test_half_precision_at_test_time_under_strict_promotion():
    """jax.nn's own function adds float32 to bfloat16 there, which strict promotion refuses."""
    q = jnp.ones((1, 4, 2, 8), jnp.bfloat16)
    y = dot_product_attention(q, q, q)
    np.testing.assert_array_equal(y, q)
