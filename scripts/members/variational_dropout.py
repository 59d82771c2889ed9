"""Variational dropout: Kingma 2015."""

import math

import jax
import jax.numpy as jnp

import jaxdrop
import jaxdrop.linen
import jaxdrop.nnx
from scripts.members._case import Case, Normal
from scripts.members._layer import ROWS, Layer
from scripts.members._panel import N, Panel
from scripts.members._record import Record
from scripts.members._timed import Timed

LOG_ALPHA = -1.5


def draw(key: jax.Array) -> jax.Array:
    learned = jnp.linspace(-6, 0, N)[None]  # a variance for each column
    return jaxdrop.variational_dropout(key, jnp.ones((N, N)), learned)


RECORD = Record(
    section="Activations",
    after="concrete_dropout",
    method="variational dropout",
    paper="Kingma 2015",
    one_decision_for="an element",
    mean_preserved="yes",
    variance_preserved="no",
    use_for="learning the noise of each unit",
    not_for="alpha above 1",
    cases=(
        Case(
            "variational_dropout",
            Normal(mean=lambda x, _: x, std=lambda x, _: abs(x) * math.exp(LOG_ALPHA / 2)),
            options=lambda x: {"log_alpha": LOG_ALPHA},
            rate_one=None,
            rated=False,
            traced_rate=False,
        ),
    ),
    layers=(
        Layer(
            "VariationalDropout",
            lambda: jaxdrop.linen.VariationalDropout(0.3, deterministic=False),
            lambda rngs: jaxdrop.nnx.VariationalDropout(4, 0.3, rngs=rngs),
            ROWS,
            bad_input={"features": "count or None"},
        ),
    ),
    panels=(Panel("variational_dropout", "examples", "learned variance", draw),),
    timed=(
        Timed("variational_dropout", lambda key, x: jaxdrop.variational_dropout(key, x, -2.0)),
        Timed("variational_dropout, learned", jaxdrop.variational_dropout, "learned", start=-2.0),
    ),
)
