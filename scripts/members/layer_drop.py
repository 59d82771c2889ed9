"""LayerDrop: Fan 2020."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import nnx

import jaxdrop
import jaxdrop.linen
import jaxdrop.nnx
from scripts.members._case import Case, TwoPoint
from scripts.members._layer import ROWS, Layer
from scripts.members._panel import DRAWN_RATE, N, Panel
from scripts.members._record import Record


def double(x: Any) -> jax.Array:
    """A layer; a new one in each call would be traced again in each call."""
    return x + x


def draw(key: jax.Array) -> jax.Array:
    def step(key: jax.Array) -> jax.Array:
        return jaxdrop.layer_drop(key, jnp.zeros(N), DRAWN_RATE, lambda h: h + 1)

    return jax.vmap(step)(jax.random.split(key, N))


RECORD = Record(
    section="Feature maps, branches, tokens",
    after="drop_path",
    method="LayerDrop",
    paper="Fan 2020",
    one_decision_for="a layer, for the whole batch",
    mean_preserved="no",
    variance_preserved="no",
    use_for="saving the layer's time; pruning depth",
    not_for="vmap over examples",
    cases=(
        Case(
            "layer_drop",
            TwoPoint(kept=lambda x, rate: x + x, dropped=lambda x, rate: x),
            options=lambda x: {"layer": double},
            shared=(0, 1, 2),
            unbiased=False,
            test_time=lambda x: x + x,
            rate_one=lambda x: x,
            integers=True,
            split=None,  # one decision for all
        ),
    ),
    layers=(
        Layer(
            "LayerDrop",
            lambda rate=0.5: jaxdrop.linen.LayerDrop(nn.Dense(4), rate, deterministic=False),
            lambda rngs, rate=0.5: jaxdrop.nnx.LayerDrop(
                nnx.Linear(4, 4, rngs=rngs), rate, rngs=rngs
            ),
            ROWS,
            bad_input={"inputs": "numbers"},
        ),
    ),
    panels=(Panel("layer_drop", "calls", "everything", draw),),
    timed=(),  # it saves time instead of taking it
)
