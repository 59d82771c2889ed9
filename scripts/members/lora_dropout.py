"""Dropout of a low-rank adapter's input: Hu 2022."""

import jax
import jax.numpy as jnp

import jaxdrop
from scripts.members._case import Case
from scripts.members._panel import DRAWN_RATE, N, Panel
from scripts.members._record import Record
from scripts.members.drop_connect import permutation


def draw(key: jax.Array) -> jax.Array:
    """An adapter that adds its input."""
    one = jnp.eye(N)
    return jaxdrop.lora_dropout(key, jnp.ones((N, N)), DRAWN_RATE, lora_a=one, lora_b=one)


RECORD = Record(
    section="Weights",
    after="variational_dense",
    method="LoRA dropout",
    paper="Hu 2022",
    one_decision_for="an element of an adapter's input",
    mean_preserved="yes",
    variance_preserved="no",
    use_for="low-rank adapters on little data",
    not_for="the layer that is adapted",
    cases=(
        Case(
            "lora_dropout",
            None,  # a sum of dropped inputs
            options=lambda x: {"lora_a": permutation(x), "lora_b": permutation(x)},
            split=(0, 1),
            diagonal=False,
            lean=False,  # the matrices are kept
            bad_input={"lora_a": "floats", "lora_b": "floats", "scale": "finite or traced"},
        ),
    ),
    layers=(),
    panels=(Panel("lora_dropout", "examples", "features", draw),),
    timed=(),
    own_layers=("LoRA",),
)
