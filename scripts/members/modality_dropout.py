"""Modality dropout: Neverova 2015."""

import jax
import jax.numpy as jnp

import jaxdrop
from scripts.members._panel import DRAWN_RATE, N, Panel
from scripts.members._record import Record


def draw(key: jax.Array) -> jax.Array:
    modalities = [jnp.ones((N, N // 4))] * 4
    return jnp.concatenate(jaxdrop.modality_dropout(key, modalities, DRAWN_RATE), axis=1)


RECORD = Record(
    section="Conditions, graphs, experts",
    after="condition_dropout",
    method="modality dropout, ModDrop",
    paper="Neverova 2015",
    one_decision_for="an input of an example, never all of them",
    mean_preserved="no",
    variance_preserved="no",
    use_for="networks that must do without an input",
    not_for="inputs that mean nothing alone",
    cases=(),  # it takes several arrays
    layers=(),
    panels=(Panel("modality_dropout", "examples", "4 modalities", draw),),
    timed=(),
    helpers=("modality_dropout",),
    own_layers=("ModalityDropout",),
)
