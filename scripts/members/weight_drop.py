"""Weight drop: Merity 2018."""

import jax
import jax.numpy as jnp

import jaxdrop
from scripts.members._case import INVERTED, Case
from scripts.members._panel import DRAWN_RATE, N, Panel
from scripts.members._record import Record
from scripts.members._timed import Timed, plain


def draw(key: jax.Array) -> jax.Array:
    params = {"hh": {"kernel": jnp.ones((N, N))}, "ih": {"kernel": jnp.ones((N, N))}}
    dropped = jaxdrop.weight_drop(key, params, DRAWN_RATE, where=lambda path: "hh" in path)
    return jnp.concatenate([dropped["hh"]["kernel"][: N // 2], dropped["ih"]["kernel"][: N // 2]])


RECORD = Record(
    section="Weights",
    after="drop_connect",
    method="weight drop",
    paper="Merity 2018",
    one_decision_for="a recurrent weight of a sequence",
    mean_preserved="yes",
    variance_preserved="no",
    use_for="LSTMs on optimised kernels",
    not_for="a new mask in every step",
    cases=(Case("weight_drop", INVERTED, bad_input={"params": "floats"}, split=None),),
    layers=(),  # it takes a tree of parameters
    panels=(Panel("weight_drop", "recurrent, input", "units", draw),),
    timed=(Timed("weight_drop", plain(jaxdrop.weight_drop)),),
)
