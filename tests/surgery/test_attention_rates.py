"""Rates of attention that surgery has replaced: traced, in variables, one for each layer."""

import pickle
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxdrop
from jaxdrop import surgery
from tests.surgery.attention_modules import (
    HEADS,
    KEY,
    WIDTH,
    X,
    linen_attention,
    nnx_attention,
)


def test_jaxdrop_s_own_function_stays_and_takes_a_traced_rate() -> None:
    layer = nnx_attention(attention_fn=jaxdrop.nnx.dot_product_attention)
    expected = nnx.clone(layer)(X, deterministic=False)
    with pytest.raises(TypeError, match="cannot take a rate in a variable"):
        surgery.rates_as_variables(layer)
    surgery.replace(layer)
    surgery.rates_as_variables(layer)
    np.testing.assert_array_equal(layer(X, deterministic=False), expected)


@pytest.mark.slow
def test_a_schedule_of_the_rate_costs_one_compile() -> None:
    """By a variable, by a traced rate, and in Linen; as the rate itself, given as a number."""
    layer, traced = nnx_attention(), nnx_attention()
    surgery.replace(layer), surgery.replace(traced)
    undo = surgery.rates_as_variables(layer)
    (row,) = surgery.listing(layer)
    assert float(row.rate) == 0.5
    graphdef, state = nnx.split(traced)
    linen = linen_attention()
    variables = linen.init(KEY, X, deterministic=True)
    traces = []

    @jax.jit
    def by_variable(state: Any) -> Any:
        traces.append("variable")
        return nnx.merge(nnx.graphdef(layer), state)(X, deterministic=False)

    @jax.jit
    def by_trace(state: Any, rate: Any) -> Any:
        traces.append("traced")
        model = nnx.merge(graphdef, state)
        surgery.set_rates(model, rate)
        return model(X, deterministic=False)

    @jax.jit
    def in_linen(rate: Any) -> Any:
        traces.append("linen")
        with surgery.replaced(rate=rate):
            return linen.apply(variables, X, deterministic=False, rngs={"dropout": KEY})

    for rate in (0.125, 0.75):
        number = nnx_attention()
        surgery.replace(number), surgery.set_rates(number, rate), surgery.set_rates(layer, rate)
        expected = number(X, deterministic=False)
        with surgery.replaced(rate=rate):
            also = linen.apply(variables, X, deterministic=False, rngs={"dropout": KEY})
        found = by_variable(nnx.as_pure(nnx.state(layer)))
        np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6)
        found = by_trace(nnx.as_pure(state), jnp.float32(rate))
        np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6)
        np.testing.assert_allclose(in_linen(jnp.float32(rate)), also, rtol=0, atol=2e-6)
    assert sorted(traces) == ["linen", "traced", "variable"]
    again = pickle.loads(pickle.dumps(layer))
    assert float(again.dropout_rate[...]) == 0.75
    layer.eval()
    layer(X)  # a rate in a variable is none that flax looks at
    undo()
    assert layer.dropout_rate == 0.5


@pytest.mark.slow
def test_a_stack_has_a_rate_for_each_layer() -> None:
    @nnx.split_rngs(splits=3)
    @nnx.vmap(in_axes=0, out_axes=0)
    def make(rngs: nnx.Rngs) -> Any:
        return nnx.MultiHeadAttention(HEADS, WIDTH, dropout_rate=0.5, decode=False, rngs=rngs)

    @nnx.scan(in_axes=(0, None), out_axes=0)
    def run(layer: Any, x: Any) -> Any:
        return layer(x, deterministic=False)

    stack = nnx.List([make(nnx.Rngs(0, dropout=1))])
    surgery.replace(stack)
    surgery.set_rates(stack, jnp.array([0.0, 0.5, 1.0]))
    share = (run(stack[0], X) == 0).mean((1, 2, 3))
    assert share[0] == 0 and share[2] == 1
