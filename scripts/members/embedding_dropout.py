"""Embedding dropout: Gal 2016."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxdrop
from scripts.members._case import INVERTED, Case
from scripts.members._layer import TABLE, rated
from scripts.members._panel import DRAWN_RATE, N, Panel
from scripts.members._record import Record
from scripts.members._timed import Timed, plain


def draw(key: jax.Array) -> jax.Array:
    text: Any = np.arange(N) * 5 % 7  # seven words, each of which comes back
    return jaxdrop.embedding_dropout(key, jnp.ones((7, N)), DRAWN_RATE, text)


RECORD = Record(
    section="Sequences and words",
    after="zoneout",
    method="embedding dropout",
    paper="Gal 2016",
    one_decision_for="a word of the vocabulary",
    mean_preserved="yes",
    variance_preserved="no",
    use_for="recurrent language models",
    not_for="tables tied to the output layer",
    cases=(
        Case(
            "embedding_dropout",
            INVERTED,
            shape=(6, 4),
            shared=(1,),
            bad_input={"ids": "words"},
            split=(0, 1),
        ),
        Case(
            "embedding_dropout",
            INVERTED,
            label="ids",
            options=lambda x: {"ids": np.arange(x.shape[0])},
            shape=(6, 4),
            shared=(1,),
            lean=False,  # the ids are kept
            batch_first=False,  # of a sharded table, only the caller knows how its rows come back
            bad_input={"ids": "words"},
            split=(0, 1),
        ),
    ),
    layers=(rated("EmbeddingDropout", TABLE),),
    panels=(Panel("embedding_dropout", "words of a text", "features", draw),),
    timed=(Timed("embedding_dropout", plain(jaxdrop.embedding_dropout)),),
)
