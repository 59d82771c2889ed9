"""PatchDropout: Liu 2022."""

import jax
import numpy as np

import jaxdrop
from scripts.members._case import Case
from scripts.members._layer import MAPS, rated
from scripts.members._panel import DRAWN_RATE, N, Panel
from scripts.members._record import Record


def draw(key: jax.Array) -> np.ndarray:
    kept = np.asarray(jaxdrop.patch_indices(key, (N, N), DRAWN_RATE, prefix=1))
    return (kept[:, :, None] == np.arange(N)).any(axis=1).astype(float)


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
        ),
    ),
    layers=(rated("PatchDropout", MAPS, {"inputs": "numbers"}, prefix=2),),
    panels=(Panel("patch_dropout", "examples", "tokens", draw),),
    timed=(),  # it saves time instead of taking it
    helpers=("patch_indices", "token_skip"),
)
