"""PatchDropout: Liu 2022."""

from typing import Any

import flax.linen as nn
import jax
import numpy as np
from flax import nnx

import jaxdrop
import jaxdrop.linen
import jaxdrop.nnx
from scripts.members._case import Case
from scripts.members._layer import MAPS, Layer, rated
from scripts.members._panel import DRAWN_RATE, N, Panel
from scripts.members._record import Record


def draw(key: jax.Array) -> np.ndarray:
    kept = np.asarray(jaxdrop.patch_indices(key, (N, N), DRAWN_RATE, prefix=1))
    return (kept[:, :, None] == np.arange(N)).any(axis=1).astype(float)


class Middle(nn.Module):
    """Layers between the first and the last."""

    @nn.compact
    def __call__(self, x: Any, positions: Any) -> Any:
        return x + nn.Dense(4)(x)


class NNXMiddle(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.dense = nnx.Linear(4, 4, rngs=rngs)

    def __call__(self, x: Any, positions: Any) -> Any:
        return x + self.dense(x)


RECORD = Record(
    section="Feature maps, branches, tokens",
    after="layer_drop",
    method="PatchDropout",
    paper="Liu 2022",
    one_decision_for="a token, exactly so many an example",
    mean_preserved="tokens are unchanged",
    variance_preserved="yes",
    use_for="saving time and memory in vision transformers",
    not_for="windowed attention, dense prediction",
    cases=(
        Case(
            "patch_dropout",
            None,
            shared=None,
            unbiased=False,
            rate_one=None,
            diagonal=False,
            lean=False,
            traced_rate=False,
            traced_mode=False,
            integers=True,
            split=(0, 2),
        ),
    ),
    layers=(
        rated("PatchDropout", MAPS, {"inputs": "numbers"}, prefix=2),
        Layer(
            "TokenSkip",
            lambda rate=0.5: jaxdrop.linen.TokenSkip(Middle(), rate, deterministic=False),
            lambda rngs, rate=0.5: jaxdrop.nnx.TokenSkip(NNXMiddle(rngs), rate, rngs=rngs),
            MAPS,
            bad_input={"inputs": "numbers"},
        ),
    ),
    panels=(Panel("patch_dropout", "examples", "tokens", draw),),
    timed=(),  # it saves time instead of taking it
    helpers=("patch_indices", "token_skip"),
)
