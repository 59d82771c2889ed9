"""Dropout: Srivastava 2014."""

import jaxdrop
import jaxdrop.linen
import jaxdrop.nnx
from scripts.members._case import INVERTED, Case
from scripts.members._layer import ROWS, Layer
from scripts.members._panel import Panel, square
from scripts.members._record import Record
from scripts.members._timed import Timed, plain

RECORD = Record(
    section="Activations",
    after=None,
    method="dropout",
    paper="Srivastava 2014",
    one_decision_for="an element, or whatever shares `broadcast_dims`",
    mean_preserved="yes",
    variance_preserved="no",
    use_for="dense layers, transformers",
    not_for="convolution inputs",
    cases=(Case("dropout", INVERTED),),
    layers=(
        Layer(
            "Dropout",
            lambda rate=0.4: jaxdrop.linen.Dropout(rate, deterministic=False),
            lambda rngs, rate=0.4: jaxdrop.nnx.Dropout(rate, rngs=rngs),
            ROWS,
            bad_input={"deterministic": "flax's mode"},  # which takes numbers for it, too
        ),
    ),
    panels=(Panel("dropout", "examples", "features", square(jaxdrop.dropout)),),
    timed=(Timed("dropout", plain(jaxdrop.dropout)),),
)
