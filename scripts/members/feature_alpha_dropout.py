"""Feature alpha dropout: Klambauer 2017."""

import jaxdrop
from scripts.members._case import Case
from scripts.members._layer import MAPS, rated
from scripts.members._panel import Panel, in_maps
from scripts.members._record import Record
from scripts.members._timed import Timed, over_maps
from scripts.members.alpha_dropout import SATURATING

RECORD = Record(
    section="Activations",
    after="alpha_dropout",
    method="feature alpha dropout",
    paper="Klambauer 2017",
    one_decision_for="a feature map",
    mean_preserved="of input with mean 0, variance 1",
    variance_preserved="of such input",
    use_for="SELU convolutions",
    not_for="any other activation",
    cases=(
        Case("feature_alpha_dropout", SATURATING, shared=(1,), unbiased=False, complex_input=False),
    ),
    layers=(rated("FeatureAlphaDropout", MAPS, {"inputs": "reals"}, channel_axis=1),),
    panels=(
        Panel(
            "feature_alpha_dropout",
            "16 maps",
            "of 6 x 6",
            in_maps(jaxdrop.feature_alpha_dropout, 6),
        ),
    ),
    timed=(Timed("feature_alpha_dropout", over_maps(jaxdrop.feature_alpha_dropout)),),
)
