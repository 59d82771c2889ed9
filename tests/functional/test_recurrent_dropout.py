"""Recurrent dropout: masks fixed over time, what they reach, and the modules around cells."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxdrop
import jaxdrop.linen
import jaxdrop.nnx
from jaxdrop._functional.recurrent_dropout import recurrent_keys
from jaxdrop.testing import assert_mask_rate
from tests.functional.probes import INPUTS, KEY, OVER_TIME, NNXProbe, Probe


def masks_of(key, rate=0.25, input_rate=0.5):
    input_key, hidden_key, _ = recurrent_keys(key)
    shape = (INPUTS.shape[0], INPUTS.shape[2])
    x = jaxdrop.dropout(input_key, jnp.ones(shape), input_rate)
    return jnp.concatenate([x, jaxdrop.dropout(hidden_key, jnp.ones(shape), rate)], axis=-1)


def test_the_state_and_nothing_else_is_dropped():
    c, h = jnp.ones((2, 3)), jnp.ones((2, 3))
    c2, h2 = jaxdrop.recurrent_dropout(KEY, (c, h), 0.5)
    assert c2 is c
    np.testing.assert_array_equal(h2, jaxdrop.dropout(KEY, h, 0.5))
    np.testing.assert_array_equal(jaxdrop.recurrent_dropout(KEY, h, 0.5), h2)


@pytest.mark.slow
def test_a_scan_has_the_masks_of_its_key_at_every_step():
    def cell(carry, x):
        return (carry[0], jnp.ones_like(carry[1])), jnp.concatenate([x, carry[1]], axis=-1)

    dropped = jaxdrop.recurrent_cell(KEY, cell, 0.25, input_rate=0.5)
    start = (jnp.ones((16, 40)), jnp.ones((16, 40)))
    _, seen = jax.jit(lambda x: jax.lax.scan(dropped, start, x))(INPUTS.swapaxes(0, 1))
    for step in seen:
        np.testing.assert_array_equal(step, masks_of(KEY))
    assert_mask_rate(seen[0, :, :40] > 0, 0.5)
    assert_mask_rate(seen[0, :, 40:] > 0, 0.25)


def test_the_gradient_of_a_scan_keeps_no_masks():
    def cell(h, x):
        h = jnp.tanh(x + h)
        return h, h

    def loss(x):
        dropped = jaxdrop.recurrent_cell(KEY, cell, 0.5, input_rate=0.5)
        return jax.lax.scan(dropped, jnp.zeros(1000), x)[1].sum()

    assert "bool[50,1000]" not in str(jax.make_jaxpr(jax.grad(loss))(jnp.ones((50, 1000))))


@pytest.mark.slow
def test_linen_masks_stay_over_time_and_follow_the_key():
    cell = jaxdrop.linen.RecurrentDropout(Probe(), 0.25, input_rate=0.5, deterministic=False)
    rnn = nn.RNN(cell, split_rngs=OVER_TIME)
    seen: Any = rnn.apply({}, INPUTS, rngs={"dropout": KEY})
    other = rnn.apply({}, INPUTS, rngs={"dropout": jax.random.key(1)})
    assert (seen == seen[:, :1]).all() and (seen != other).any()
    assert_mask_rate(seen[:, 0, :40] > 0, 0.5)
    assert_mask_rate(seen[:, 0, 40:] > 0, 0.25)
    wrong = nn.RNN(cell, split_rngs={"params": False, "dropout": True})
    seen = wrong.apply({}, INPUTS, rngs={"dropout": KEY})
    assert not (seen == seen[:, :1]).all()  # what the first check is there to find


@pytest.mark.slow
def test_nnx_masks_stay_over_time_and_change_with_the_sequence():
    cell = jaxdrop.nnx.RecurrentDropout(NNXProbe(), 0.25, input_rate=0.5, rngs=nnx.Rngs(0))
    rnn = nnx.RNN(cell, rngs=False)
    seen, other = rnn(INPUTS), rnn(INPUTS)
    assert (seen == seen[:, :1]).all() and (other == other[:, :1]).all()
    assert (seen != other).any()
    start = cell.cell.initialize_carry((16, 40))
    one = rnn(INPUTS, initial_carry=start)
    np.testing.assert_array_equal(one, rnn(INPUTS, initial_carry=start))
    cell.new_masks()
    assert (one != rnn(INPUTS, initial_carry=start)).any()
    rnn.eval()
    np.testing.assert_array_equal(rnn(INPUTS), jnp.ones((16, 5, 80)))


def test_linen_nnx_and_function_have_the_same_masks():
    carry, x = (jnp.ones((16, 40)), jnp.ones((16, 40))), INPUTS[:, 0]
    linen = jaxdrop.linen.RecurrentDropout(Probe(), 0.25, input_rate=0.5, deterministic=False)
    by_nnx = jaxdrop.nnx.RecurrentDropout(NNXProbe(), 0.25, input_rate=0.5)
    np.testing.assert_array_equal(linen.apply({}, carry, x, rng=KEY)[1], masks_of(KEY))
    np.testing.assert_array_equal(by_nnx(carry, x, rngs=KEY)[1], masks_of(KEY))


@pytest.mark.slow
@pytest.mark.parametrize("kind", [nn.LSTMCell, nn.OptimizedLSTMCell, nn.GRUCell, nn.SimpleCell])
def test_linen_parameters_and_test_time_are_those_of_the_bare_cell(kind):
    x = INPUTS[:2, :3, :4]
    bare = nn.RNN(kind(3))
    params = bare.init(jax.random.key(0), x)
    cell = jaxdrop.linen.RecurrentDropout(kind(3), 0.5, input_rate=0.5, deterministic=True)
    np.testing.assert_array_equal(nn.RNN(cell).apply(params, x), bare.apply(params, x))
    train = nn.RNN(cell.clone(deterministic=False), split_rngs=OVER_TIME)
    assert jax.tree.map(jnp.shape, train.init(jax.random.key(0), x)) == jax.tree.map(
        jnp.shape, params
    )
    y: Any = train.apply(params, x, rngs={"dropout": KEY})
    assert (y != bare.apply(params, x)).any()


@pytest.mark.slow
def test_a_state_that_is_passed_on_is_not_scaled_at_every_step():
    """With the update gate shut, h' = h: masking the carry instead would double it each step."""
    x = jnp.ones((2, 60, 3))
    rnn = nn.RNN(
        jaxdrop.linen.RecurrentDropout(nn.GRUCell(4), 0.5, deterministic=False),
        split_rngs=OVER_TIME,
    )
    params = rnn.init(jax.random.key(0), x)["params"]
    params["cell"]["iz"]["bias"] += 100.0
    start = jnp.arange(8.0).reshape(2, 4) + 1
    y: Any = rnn.apply({"params": params}, x, initial_carry=start, rngs={"dropout": KEY})
    np.testing.assert_allclose(y[:, -1], start, rtol=1e-6)

    rngs = nnx.Rngs(0)
    gru = nnx.GRUCell(3, 4, rngs=rngs)
    assert gru.dense_i.bias is not None
    gru.dense_i.bias[...] += jnp.repeat(jnp.array([0.0, 100.0, 0.0]), 4)
    cell = jaxdrop.nnx.RecurrentDropout(gru, 0.5, rngs=rngs)
    y = nnx.RNN(cell, rngs=rngs)(x, initial_carry=start)
    np.testing.assert_allclose(y[:, -1], start, rtol=1e-6)


@pytest.mark.slow
def test_gru_matrices_read_the_dropped_state():
    """With reset and update gates open, h' = tanh(W h) of the dropped h."""
    cell = nn.SimpleCell(4)
    h, x = jnp.ones((2, 4)), jnp.zeros((2, 3))
    variables = cell.init(jax.random.key(0), h, x)
    wrapped = jaxdrop.linen.RecurrentDropout(nn.SimpleCell(4), 0.5, deterministic=False)
    _, hidden_key, _ = recurrent_keys(KEY)
    expected = cell.apply(variables, jaxdrop.dropout(hidden_key, h, 0.5), x)[1]
    np.testing.assert_array_equal(wrapped.apply(variables, h, x, rng=KEY)[1], expected)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["LSTMCell", "OptimizedLSTMCell", "GRUCell"])
def test_the_candidate_and_nothing_else_is_dropped(name):
    """From a zero state, c' = i g (LSTM) and h' = (1 - z) n (GRU): the candidate, scaled."""
    x = jnp.linspace(-1, 1, 15).reshape(5, 3)
    zero = jnp.zeros((5, 8))
    carry = zero if name == "GRUCell" else (zero, zero)

    def first(state):
        return state[0] if isinstance(state, tuple) else state

    _, _, candidate_key = recurrent_keys(KEY)
    factor = jaxdrop.dropout(candidate_key, jnp.ones((5, 8)), 0.5)
    bare = getattr(nn, name)(8)
    variables = bare.init(jax.random.key(0), carry, x)
    options: dict[str, Any] = {"variant": "candidate", "deterministic": False}
    wrapped: Any = jaxdrop.linen.RecurrentDropout(getattr(nn, name)(8), 0.5, **options)
    plain = first(bare.apply(variables, carry, x)[0])
    np.testing.assert_allclose(
        first(wrapped.apply(variables, carry, x, rng=KEY)[0]), plain * factor, rtol=1e-6
    )

    bare = getattr(nnx, name)(3, 8, rngs=nnx.Rngs(0))
    wrapped = jaxdrop.nnx.RecurrentDropout(bare, 0.5, variant="candidate")
    np.testing.assert_allclose(
        first(wrapped(carry, x, rngs=KEY)[0]), first(bare(carry, x)[0]) * factor, rtol=1e-6
    )


@pytest.mark.slow
@pytest.mark.parametrize("rates", [(0.5, 0.5), (0.0, 0.0)])
def test_evaluation_moves_no_mask_of_training(rates):
    """As with flax.nnx.Dropout, the stream advances only where a mask is drawn."""
    cell = jaxdrop.nnx.RecurrentDropout(NNXProbe(), rates[0], input_rate=rates[1], rngs=nnx.Rngs(0))
    rnn = nnx.RNN(cell, rngs=False)
    if rates[0]:
        rnn(INPUTS)
        assert int(cell.rngs.count[...]) == 1  # what the check below is there to find
        rnn.eval()
    before = nnx.to_pure_dict(nnx.state(cell, nnx.RngCount))
    for _ in range(2):
        rnn(INPUTS)
    assert nnx.to_pure_dict(nnx.state(cell, nnx.RngCount)) == before
    cell.deterministic, cell.rate = None, 0.5  # a mode that only the call will tell
    cell.new_masks()
    assert nnx.to_pure_dict(nnx.state(cell, nnx.RngCount)) != before


class PlainStart(NNXProbe):
    """A cell that knows no carry_init."""

    def initialize_carry(self, input_shape, rngs=None):  # type: ignore[override]
        return super().initialize_carry(input_shape)


class LinenPlainStart(Probe):
    """A cell whose arguments have other names, and one more."""

    @nn.nowrap
    def initialize_carry(self, key, of_shape, fill=1.0):
        return jnp.full(of_shape, fill), jnp.full(of_shape, fill)


@pytest.mark.slow
def test_a_cell_starts_as_it_does_by_itself():
    for wrap in (jaxdrop.nnx.RecurrentDropout, jaxdrop.nnx.Zoneout):
        carry = wrap(PlainStart(), 0.5).initialize_carry((4, 3), nnx.Rngs(0))  # as nnx.RNN calls it
        np.testing.assert_array_equal(carry, jnp.ones((2, 4, 3)))
        gru = wrap(nnx.GRUCell(2, 3, rngs=nnx.Rngs(0)), 0.5)
        carry = gru.initialize_carry((4, 2), nnx.Rngs(0), nnx.initializers.ones_init())
        np.testing.assert_array_equal(carry, jnp.ones((4, 3)))
    for linen_wrap in (jaxdrop.linen.RecurrentDropout, jaxdrop.linen.Zoneout):
        carry = linen_wrap(LinenPlainStart(), 0.5).initialize_carry(KEY, (2, 3), fill=2.0)
        np.testing.assert_array_equal(carry, jnp.full((2, 2, 3), 2.0))
