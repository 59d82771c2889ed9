"""Zoneout: Krueger 2017."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import jaxdrop
import jaxdrop.linen
import jaxdrop.nnx
from scripts.members._case import Case, TwoPoint
from scripts.members._layer import SEQUENCES, Layer
from scripts.members._panel import DRAWN_RATE, N, Panel
from scripts.members._record import Record
from scripts.members._rnn import NNXRNN, LinenRNN
from scripts.members._timed import TIMED_RATE, Timed


def draw(key: jax.Array) -> np.ndarray:
    state, states = jnp.zeros(N), []
    for t in range(N):
        new = jnp.full(N, t / N)
        state = jaxdrop.zoneout(jax.random.fold_in(key, t), new, DRAWN_RATE, previous=state)
        states.append(np.asarray(state))
    return np.stack(states)


def on_zeros(key: jax.Array, x: jax.Array) -> jax.Array:
    return jaxdrop.zoneout(key, x, TIMED_RATE, previous=jnp.zeros_like(x))


RECORD = Record(
    section="Sequences and words",
    after="recurrent_dropout",
    method="zoneout",
    paper="Krueger 2017",
    one_decision_for="a unit at a time step",
    mean_preserved="of the mix of old and new state",
    variance_preserved="no",
    use_for="long memory",
    not_for="feed-forward layers",
    cases=(
        Case(
            "zoneout",
            TwoPoint(kept=lambda x, rate: x, dropped=lambda x, rate: 2 * x),
            options=lambda x: {"previous": 2 * x},
            unbiased=False,
            expectation=True,
            rate_one=lambda x: 2 * x,
        ),
    ),
    layers=(
        Layer(
            "Zoneout",
            lambda rate=(0.5, 0.2): LinenRNN(
                jaxdrop.linen.Zoneout(nn.LSTMCell(4), rate, deterministic=False),
                {"zoneout": True},
            ),
            lambda rngs, rate=(0.5, 0.2): NNXRNN(
                jaxdrop.nnx.Zoneout(nnx.LSTMCell(4, 4, rngs=rngs), rate, rngs=rngs), rngs
            ),
            SEQUENCES,
            # flax's RNN slices the inputs, and its scan hides the value of a JAX rate.
            bad_input={"inputs": None, "rate": "host rate"},
        ),
    ),
    panels=(Panel("zoneout (state over time)", "time", "units", draw),),
    timed=(Timed("zoneout", on_zeros),),
)
