"""Concrete dropout: Gal 2017."""

import jaxdrop
import jaxdrop.linen
import jaxdrop.nnx
from scripts.members._case import Case
from scripts.members._layer import ROWS, Layer
from scripts.members._panel import Panel, square
from scripts.members._record import Record
from scripts.members._timed import TIMED_RATE, Timed, plain

RECORD = Record(
    section="Activations",
    after="feature_alpha_dropout",
    method="concrete dropout",
    paper="Gal 2017",
    one_decision_for="an element",
    mean_preserved="nearly (the relaxation)",
    variance_preserved="no",
    use_for="learning the rate",
    not_for="training without its regulariser",
    cases=(
        Case(
            "concrete_dropout",
            None,  # continuous between zero and x / (1 - rate)
            unbiased=False,
            lean=False,  # x is kept, for the gradient of the rate
            traced_rate=False,  # it may be, but a gradient flows to it
        ),
    ),
    layers=(
        Layer(
            "ConcreteDropout",
            lambda: jaxdrop.linen.ConcreteDropout(0.3, deterministic=False),
            lambda rngs: jaxdrop.nnx.ConcreteDropout(0.3, rngs=rngs),
            ROWS,
        ),
    ),
    panels=(Panel("concrete_dropout", "examples", "features", square(jaxdrop.concrete_dropout)),),
    timed=(
        Timed("concrete_dropout", plain(jaxdrop.concrete_dropout)),
        Timed("concrete_dropout, learned", jaxdrop.concrete_dropout, "learned", start=TIMED_RATE),
    ),
)
