"""Linen cells around cells: which key reaches a step, and what happens where none does."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import jaxdrop.linen
from jaxdrop import mc


@pytest.mark.slow
@pytest.mark.parametrize("make", [jaxdrop.linen.Zoneout, jaxdrop.linen.RecurrentDropout])
def test_a_key_that_does_not_reach_the_cell_is_told_so(make):
    """Flax would fall back on "params", whose key is the same at every step and in every call."""
    cell = make(nn.LSTMCell(5), 0.5, deterministic=False)
    rnn, x = nn.RNN(cell), jnp.ones((2, 3, 4))
    keys = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
    variables = nn.RNN(nn.LSTMCell(5)).init(jax.random.key(0), x)  # the same parameters
    with pytest.raises(ValueError, match=r"found no rng named .* nn.RNN\(cell, split_rngs="):
        rnn.apply(variables, x, rngs=keys)
    found: Any = jax.tree.structure(rnn.init(jax.random.key(0), x))
    assert found == jax.tree.structure(variables)


@pytest.mark.slow
def test_a_sampler_gives_zoneout_another_mask_at_every_step():
    cell = jaxdrop.linen.Zoneout(nn.SimpleCell(400), 0.5)
    rnn = nn.RNN(cell, split_rngs={"params": False, "zoneout": True})
    x = jnp.arange(1.0, 31.0).reshape(1, 30, 1)  # whose states, without zoneout, are all different
    variables = nn.RNN(nn.SimpleCell(400)).init(jax.random.key(0), x)
    h = np.asarray(mc.sampler(rnn, variables)(jax.random.key(2), x))[0]
    stayed = (h[1:] == h[:-1]).sum(axis=0)
    # Each of 29 steps keeps a unit with probability 1/2; 400 units, false alarm 1e-7.
    low, high = scipy.stats.binom.ppf([0.5e-7 / 400, 1 - 0.5e-7 / 400], 29, 0.5)
    assert low <= stayed.min() and stayed.max() <= high and len(set(stayed)) > 2


@pytest.mark.slow
def test_a_transformed_cell_is_transformed_outside():
    x = jnp.ones((2, 3, 4))
    inside = jaxdrop.linen.RecurrentDropout(nn.remat(nn.GRUCell)(5), 0.5, deterministic=False)
    with pytest.raises(ValueError, match=r"nn.remat\(RecurrentDropout\)\(cell"):
        nn.RNN(inside).init(jax.random.key(0), x)
    for make, name in (
        (jaxdrop.linen.RecurrentDropout, "dropout"), (jaxdrop.linen.Zoneout, "zoneout")
    ):  # fmt: skip
        split: dict[Any, bool] = {"params": False, name: name == "zoneout"}
        plain, remat = (
            nn.RNN(t(make)(nn.GRUCell(5), 0.5, deterministic=False), split_rngs=split)
            for t in (lambda m: m, nn.remat)
        )
        variables = nn.RNN(nn.GRUCell(5)).init(jax.random.key(0), x)
        want, got = (r.apply(variables, x, rngs={name: jax.random.key(1)}) for r in (plain, remat))
        np.testing.assert_array_equal(got, want)
