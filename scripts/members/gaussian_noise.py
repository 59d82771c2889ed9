"""Gaussian noise: Bishop 1995."""

import jaxdrop
from scripts.members._case import Case, Normal
from scripts.members._layer import MAPS, rated
from scripts.members._panel import Panel, square
from scripts.members._record import Record
from scripts.members._timed import Timed, plain

RECORD = Record(
    section="Activations",
    after="gaussian_dropout",
    method="Gaussian noise",
    paper="Bishop 1995",
    one_decision_for="an element",
    mean_preserved="yes",
    variance_preserved="no",
    use_for="inputs of known scale",
    not_for="hidden layers of free scale",
    cases=(
        Case(
            "gaussian_noise",
            Normal(mean=lambda x, rate: x, std=lambda x, rate: rate + 0 * x),
            rate_one=None,
            probability=False,
            complex_input=False,
        ),
    ),
    layers=(rated("GaussianNoise", MAPS, {"rate": "stddev", "inputs": "reals"}),),
    panels=(Panel("gaussian_noise", "examples", "features", square(jaxdrop.gaussian_noise)),),
    timed=(Timed("gaussian_noise", plain(jaxdrop.gaussian_noise)),),
)
