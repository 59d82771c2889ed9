"""Wrong use of recurrent dropout is told in a sentence, before the first step."""

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
from tests.functional.probes import INPUTS, KEY, KEYS, NNXProbe, Probe


@pytest.mark.slow
def test_wrong_use_is_told_in_a_sentence():
    wrapped = jaxdrop.linen.RecurrentDropout
    gates: Any = "gates"
    lstm = nn.RNN(wrapped(nn.LSTMCell(4), 0.5, deterministic=False))
    params = lstm.init(jax.random.key(0), INPUTS)
    with pytest.raises(ValueError, match="no rng named 'dropout'.*nn.RNN"):
        lstm.apply(params, INPUTS, rngs={"dropout": KEY})
    with pytest.raises(ValueError, match="variant='gates', expected 'state' or 'candidate'"):
        wrapped(Probe(), variant=gates, deterministic=False).apply({}, None, None, rng=KEY)
    with pytest.raises(ValueError, match="variant='gates', expected 'state' or 'candidate'"):
        jaxdrop.nnx.RecurrentDropout(NNXProbe(), variant=gates)
    carry = (jnp.ones((2, 3)), jnp.ones((2, 3)))
    with pytest.raises(ValueError, match="Probe has no activation_fn"):
        wrapped(Probe(), 0.5, variant="candidate", deterministic=False).apply(
            {}, carry, jnp.ones((2, 3)), rng=KEY
        )
    renamed = wrapped(nn.GRUCell(3), 0.5, deterministic=False, recurrent_layers=("state",))
    with pytest.raises(ValueError, match="GRUCell has one state and no submodule named in"):
        renamed.init(jax.random.key(0), jnp.ones((2, 3)), jnp.ones((2, 3)))
    by_nnx = jaxdrop.nnx.RecurrentDropout(
        nnx.GRUCell(3, 3, rngs=nnx.Rngs(0)), 0.5, recurrent_layers=("state",)
    )
    with pytest.raises(ValueError, match="GRUCell has one state and no attribute named in"):
        by_nnx(jnp.ones((2, 3)), jnp.ones((2, 3)), rngs=KEY)
    with pytest.raises(ValueError, match="needs a key while training"):
        by_nnx(jnp.ones((2, 3)), jnp.ones((2, 3)))


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ((None, jnp.tanh, 0.5), ValueError, "^recurrent_cell needs a random key and got None"),
        ((3, jnp.tanh, 0.5), TypeError, "^got 3 where a random key belongs; pass recurrent_cell"),
        ((KEYS, jnp.tanh, 0.5), ValueError, "^got a batch of keys of shape"),
        ((KEY, jnp.tanh, 1.5), ValueError, "^got rate=1.5; expected 0 <= rate <= 1"),
        ((KEY, jnp.tanh, 0.5, 1.5), ValueError, "^got input_rate=1.5; expected 0 <= input_rate"),
        ((KEY, 0.5, 0.5), TypeError, "^got cell=0.5 of type float; recurrent_cell takes a funct"),
        ((KEY, jnp.tanh, 0.5, 0.5, 1), TypeError, "^got deterministic=1 of type int"),
    ],
)
def test_recurrent_cell_is_checked_before_the_first_step(arguments, error, sentence):
    names = ("input_rate", "deterministic")
    options = dict(zip(names, arguments[3:], strict=False))
    with pytest.raises(error, match=sentence):
        jaxdrop.recurrent_cell(*arguments[:3], **options)


def test_bad_sequence_keys_are_told_in_a_sentence():
    with pytest.raises(TypeError, match="^got 3 where a random key belongs"):
        recurrent_keys(3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^got a batch of keys of shape \(2,\)"):
        recurrent_keys(KEYS)
    assert recurrent_keys(None) == (None, None, None)


def test_recurrent_cell_needs_no_key_where_it_draws_nothing():
    def cell(h, x):
        return h + x, h

    idle: list[dict[str, Any]] = [{"rate": 0.0}, {"rate": 0.5, "deterministic": True}]
    for options in idle:
        step = jaxdrop.recurrent_cell(None, cell, **options)
        np.testing.assert_array_equal(step(jnp.ones(2), jnp.ones(2))[0], jnp.full(2, 2.0))


def test_a_cell_comes_before_the_rate():
    made = [
        (jaxdrop.linen, nn.GRUCell(4)), (jaxdrop.nnx, nnx.GRUCell(3, 4, rngs=nnx.Rngs(0)))
    ]  # fmt: skip
    for library, cell in made:
        for wrap in (library.RecurrentDropout, library.Zoneout):
            for wrong in (0.2, None, type(cell)):
                with pytest.raises(TypeError, match="^got cell=.* takes an RNN cell, such as"):
                    wrap(wrong, cell)
            wrap(cell, 0.2)
