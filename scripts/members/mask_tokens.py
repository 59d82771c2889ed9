"""Token masking: Devlin 2019, Joshi 2020, Sahoo 2024."""

import jax
import jax.numpy as jnp

import jaxdrop
from scripts.members._panel import DRAWN_RATE, N, Panel
from scripts.members._record import Record


def draw(key: jax.Array) -> jax.Array:
    tokens = jnp.ones((N, N), jnp.int32)
    return jaxdrop.mask_tokens(key, tokens, DRAWN_RATE, mask_token=0, span=3)[0]


RECORD = Record(
    section="Sequences and words",
    after="word_dropout",
    method="token masking",
    paper="Devlin 2019, Joshi 2020, Sahoo 2024",
    one_decision_for="a token, or a span of them",
    mean_preserved="tokens have none",
    variance_preserved="-",
    use_for="masked and diffusion language models",
    not_for="causal models: their inputs are dropped by `word_dropout`",
    cases=(),  # it returns what it chose, too
    layers=(),
    panels=(Panel("mask_tokens, spans of 3", "sentences", "words", draw),),
    timed=(),
    helpers=("mask_tokens",),
)
