"""Zoneout around Flax cells: a new mask at each step, one rate per entry, outputs that follow."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy import stats

import jaxdrop.linen
import jaxdrop.nnx

STEPS, BATCH, UNITS = 40, 8, 25
INPUTS = jnp.zeros((BATCH, STEPS, UNITS))


def count(carry, x):
    c, h = carry
    h = h + 1
    return (c + 1, h), h


class Counter(nn.RNNCellBase):
    """Adds one to the state, so that the state counts the updates that were let through."""

    def __call__(self, carry, x):
        return count(carry, x)

    @nn.nowrap
    def initialize_carry(self, rng, shape):
        return jnp.zeros(shape), jnp.zeros(shape)

    @property
    def num_feature_axes(self):
        return 1


class NNXCounter(nnx.RNNCellBase):
    def __call__(self, carry, x):
        return count(carry, x)

    def initialize_carry(self, shape, rngs=None, carry_init=None):
        return jnp.zeros(shape), jnp.zeros(shape)

    @property
    def num_feature_axes(self):
        return 1


def run_linen(rate, split=True):
    cell = jaxdrop.linen.Zoneout(Counter(), rate, deterministic=False)
    rnn = nn.RNN(cell, return_carry=True, split_rngs={"params": False, "zoneout": split})
    return rnn.apply({}, INPUTS, rngs={"zoneout": jax.random.key(7)})


def run_nnx(rate):
    cell = jaxdrop.nnx.Zoneout(NNXCounter(), rate, rngs=nnx.Rngs(7))
    return nnx.RNN(cell, return_carry=True, rngs=False)(INPUTS)


@pytest.mark.slow
@pytest.mark.parametrize("run", [run_linen, run_nnx])
def test_updates_are_binomial_at_each_entry_s_rate(run):
    (c, h), y = run((0.5, 0.1))
    n = STEPS * BATCH * UNITS
    for state, rate in ((c, 0.5), (h, 0.1)):
        updates = int(state.sum())
        law = stats.binom(n, 1 - rate)
        assert min(law.cdf(updates), law.sf(updates - 1)) > 1e-9
        assert min(stats.binom(n, 0.95 - rate).sf(updates - 1), 1.0) < 1e-9  # a wrong rate is seen
    # A unit's count is Binomial(STEPS, 1/2); the chance that one of 200 is all or nothing is 4e-10.
    assert ((c > 0) & (c < STEPS)).all()
    np.testing.assert_array_equal(y[:, -1], h)


def test_one_mask_for_all_steps_would_freeze_units():
    (c, _), _ = run_linen(0.5, split=False)
    assert set(np.unique(c)) == {0.0, float(STEPS)}


def test_test_time_takes_the_expectation():
    cell = jaxdrop.linen.Zoneout(Counter(), 0.25, deterministic=True)
    zeros = jnp.zeros((2, 3))
    (c, h), y = cell.apply({}, (zeros, zeros), zeros)
    np.testing.assert_array_equal(c, 0.75 + zeros)
    np.testing.assert_array_equal(y, h)
    layer = jaxdrop.nnx.Zoneout(NNXCounter(), 0.25, deterministic=True)
    np.testing.assert_array_equal(layer((zeros, zeros), zeros)[1], h)


@pytest.mark.slow
def test_linen_parameters_are_those_of_the_bare_cell():
    bare, zoned = (
        nn.RNN(nn.GRUCell(3)),
        nn.RNN(jaxdrop.linen.Zoneout(nn.GRUCell(3), 0.5, deterministic=True)),
    )
    params = bare.init(jax.random.key(0), INPUTS)
    shapes = jax.tree.map(jnp.shape, zoned.init(jax.random.key(0), INPUTS))
    assert shapes == jax.tree.map(jnp.shape, params)


def test_wrong_use_is_told_in_a_sentence():
    with pytest.raises(ValueError, match="got 3 rates for a carry of 2 entries"):
        run_linen((0.1, 0.1, 0.1))
    cell = nn.RNN(jaxdrop.linen.Zoneout(Counter(), 0.5, deterministic=False))
    with pytest.raises(ValueError, match="no rng named 'zoneout'"):
        cell.apply({}, INPUTS, rngs={"zoneout": jax.random.key(0)})
