"""Gaussian dropout: Srivastava 2014, sec. 10."""

import jaxdrop
from scripts.members._case import Case, Normal
from scripts.members._layer import MAPS, rated
from scripts.members._panel import Panel, square
from scripts.members._record import Record
from scripts.members._timed import Timed, plain

RECORD = Record(
    section="Activations",
    after="dropout",
    method="Gaussian dropout",
    paper="Srivastava 2014, sec. 10",
    one_decision_for="an element",
    mean_preserved="yes",
    variance_preserved="no",
    use_for="dropout without zeros",
    not_for="sparsity; rates near 1",
    cases=(
        Case(
            "gaussian_dropout",
            Normal(mean=lambda x, rate: x, std=lambda x, rate: abs(x) * (rate / (1 - rate)) ** 0.5),
        ),
    ),
    layers=(rated("GaussianDropout", MAPS),),
    panels=(Panel("gaussian_dropout", "examples", "features", square(jaxdrop.gaussian_dropout)),),
    timed=(Timed("gaussian_dropout", plain(jaxdrop.gaussian_dropout)),),
)
