"""Alpha dropout: Klambauer 2017."""

import jaxdrop
from scripts.members._case import Case, TwoPoint
from scripts.members._layer import MAPS, rated
from scripts.members._panel import Panel, square
from scripts.members._record import Record
from scripts.members._timed import Timed, plain

SATURATION = -1.0507009873554805 * 1.6732632423543772


def affine(rate: float) -> tuple[float, float]:
    """Klambauer et al., section "New Dropout Technique"."""
    q = 1 - rate
    a = (q + SATURATION**2 * q * (1 - q)) ** -0.5
    return a, -a * (1 - q) * SATURATION


SATURATING = TwoPoint(
    kept=lambda x, rate: affine(rate)[0] * x + affine(rate)[1],
    dropped=lambda x, rate: affine(rate)[0] * SATURATION + affine(rate)[1],
)


RECORD = Record(
    section="Activations",
    after="gaussian_noise",
    method="alpha dropout",
    paper="Klambauer 2017",
    one_decision_for="an element",
    mean_preserved="of input with mean 0, variance 1",
    variance_preserved="of such input",
    use_for="SELU",
    not_for="any other activation",
    cases=(Case("alpha_dropout", SATURATING, unbiased=False, complex_input=False),),
    layers=(rated("AlphaDropout", MAPS, {"inputs": "reals"}, broadcast_dims=(0,)),),
    panels=(Panel("alpha_dropout", "examples", "features", square(jaxdrop.alpha_dropout)),),
    timed=(Timed("alpha_dropout", plain(jaxdrop.alpha_dropout)),),
)
