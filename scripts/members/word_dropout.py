"""Word dropout: Iyyer 2015, Bowman 2016."""

from typing import Any

import jax
import jax.numpy as jnp

import jaxdrop
from scripts.members._case import Case, TwoPoint
from scripts.members._layer import TOKENS, rated
from scripts.members._panel import DRAWN_RATE, N, Panel
from scripts.members._record import Record
from scripts.members._timed import TIMED_RATE, Timed


def draw(key: jax.Array) -> jax.Array:
    return jaxdrop.word_dropout(key, jnp.ones((N, N), jnp.int32), DRAWN_RATE, unknown=0)


def on_the_bits_of(key: Any, x: jax.Array) -> jax.Array:
    tokens = jaxdrop.word_dropout(key, x.view(jnp.int32), TIMED_RATE, unknown=0)
    return tokens.view(jnp.float32)


RECORD = Record(
    section="Sequences and words",
    after="embedding_dropout",
    method="word dropout",
    paper="Iyyer 2015, Bowman 2016",
    one_decision_for="a token",
    mean_preserved="tokens have none",
    variance_preserved="-",
    use_for="text classifiers, decoders, many epochs on one text",
    not_for="tasks that copy words",
    cases=(
        Case(
            "word_dropout",
            TwoPoint(kept=lambda x, rate: x),
            options=lambda x: {"unknown": 0},
            unbiased=False,
            lean=False,
            integer_input=True,
            complex_input=False,
        ),
    ),
    layers=(rated("WordDropout", TOKENS, {"inputs": "integers"}, unknown=0, protected=(3,)),),
    panels=(Panel("word_dropout", "sentences", "words", draw),),
    timed=(Timed("word_dropout", on_the_bits_of, backward=False),),
)
