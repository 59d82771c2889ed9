"""Cutout: DeVries and Taylor 2017."""

import jax
import jax.numpy as jnp
import numpy as np

import jaxdrop
from scripts.members._case import Case
from scripts.members._layer import MAPS, rated
from scripts.members._panel import N, Panel
from scripts.members._record import Record
from scripts.members._timed import TIMED_MAPS, Timed


def draw(key: jax.Array) -> np.ndarray:
    y = np.asarray(jaxdrop.cutout(key, jnp.ones((4, N // 2, N // 2, 1)), size=5))[..., 0]
    return y.reshape(2, 2, N // 2, N // 2).transpose(0, 2, 1, 3).reshape(N, N)


RECORD = Record(
    section="Feature maps, branches, tokens",
    after="drop_block",
    method="Cutout",
    paper="DeVries and Taylor 2017",
    one_decision_for="a block of an example",
    mean_preserved="no",
    variance_preserved="no",
    use_for="input images",
    not_for="hidden layers",
    cases=(
        Case(
            "cutout",
            None,
            options=lambda x: {"size": 2},
            shared=None,
            unbiased=False,
            rate_one=None,
            integers=True,
        ),
    ),
    layers=(rated("Cutout", MAPS, {"inputs": "numbers"}, size=(4,)),),
    panels=(Panel("cutout, size 5", "4 images", "of 12 x 12", draw),),
    timed=(
        Timed(
            "cutout, 8 x 8",
            lambda key, x: jaxdrop.cutout(key, x.reshape(TIMED_MAPS), size=8).reshape(x.shape),
            "neighbours",
        ),
    ),
)
