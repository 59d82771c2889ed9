"""DropPath, stochastic depth: Huang 2016."""

import flax.linen as nn
from flax import nnx

import jaxdrop
import jaxdrop.linen
import jaxdrop.nnx
from scripts.members._case import INVERTED, Case
from scripts.members._layer import MAPS, ROWS, Layer, rated
from scripts.members._panel import Panel, square
from scripts.members._record import Record
from scripts.members._timed import Timed, plain

RECORD = Record(
    section="Feature maps, branches, tokens",
    after="cutout",
    method="DropPath, stochastic depth",
    paper="Huang 2016",
    one_decision_for="a branch of an example",
    mean_preserved="yes",
    variance_preserved="no",
    use_for="residual branches",
    not_for="layers without a skip connection",
    cases=(Case("drop_path", INVERTED, shared=(1, 2)),),
    layers=(
        rated("DropPath", MAPS, batch_axis=1),
        Layer(
            "DropPathSubset",
            lambda rate=0.5: jaxdrop.linen.DropPathSubset(nn.Dense(4), rate, deterministic=False),
            lambda rngs, rate=0.5: jaxdrop.nnx.DropPathSubset(
                nnx.Linear(4, 4, rngs=rngs), rate, rngs=rngs
            ),
            ROWS,
            bad_input={"inputs": "numbers"},
            collects=True,
        ),
    ),
    panels=(Panel("drop_path", "examples", "features", square(jaxdrop.drop_path)),),
    timed=(Timed("drop_path", plain(jaxdrop.drop_path)),),
    helpers=("drop_path_rates", "layer_skip_rates", "drop_path_subset"),
)
