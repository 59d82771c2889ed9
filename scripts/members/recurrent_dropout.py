"""Recurrent dropout: Gal 2016, Semeniuta 2016."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import nnx

import jaxdrop
import jaxdrop.linen
import jaxdrop.nnx
from scripts.members._case import INVERTED, Case
from scripts.members._layer import SEQUENCES, Layer
from scripts.members._panel import DRAWN_RATE, N, Panel
from scripts.members._record import Record
from scripts.members._rnn import NNXRNN, LinenRNN


def layer(cell: str, label: str = "", **options: Any) -> Layer:
    def linen(rate: Any = 0.5) -> nn.Module:
        bare = getattr(nn, cell)(4)
        wrapped = jaxdrop.linen.RecurrentDropout(bare, rate, deterministic=False, **options)
        return LinenRNN(wrapped, {"dropout": False})

    def by_nnx(rngs: nnx.Rngs, rate: Any = 0.5) -> nnx.Module:
        bare = getattr(nnx, cell)(4, 4, rngs=rngs)
        return NNXRNN(jaxdrop.nnx.RecurrentDropout(bare, rate, rngs=rngs, **options), rngs)

    # flax's RNN slices the inputs, and its scan hides the value of a JAX rate.
    kinds = {"inputs": None, "rate": "host rate", "input_rate": "host rate"}
    return Layer("RecurrentDropout", linen, by_nnx, SEQUENCES, label=label, bad_input=kinds)


def draw(key: jax.Array) -> jax.Array:
    """What a cell that passes its state on unchanged reads at every step."""
    cell = jaxdrop.recurrent_cell(key, lambda h, x: (jnp.ones(N), h), DRAWN_RATE)
    return jax.lax.scan(cell, jnp.ones(N), jnp.ones((N, 1)))[1]


RECORD = Record(
    section="Sequences and words",
    after="locked_dropout",
    method="recurrent dropout",
    paper="Gal 2016, Semeniuta 2016",
    one_decision_for="a unit of a sequence",
    mean_preserved="yes",
    variance_preserved="no",
    use_for="the state that a cell reads",
    not_for="states that are passed on as they are",
    cases=(
        Case(
            "recurrent_dropout",
            INVERTED,
            bad_input={"carry": "hidden state"},  # one array, or a tuple of them
        ),
    ),
    layers=(
        layer("LSTMCell", input_rate=0.4),
        layer("GRUCell", "one state", input_rate=0.4),
        layer("GRUCell", "candidate", variant="candidate"),
    ),
    panels=(Panel("recurrent_dropout", "time", "units", draw),),
    timed=(),  # as loops over time: scripts/benchmarks/recurrent.py
    helpers=("recurrent_cell",),
)
