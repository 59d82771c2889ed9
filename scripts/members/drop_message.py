"""DropMessage: Fang 2023."""

import jax
import jax.numpy as jnp

import jaxdrop
from scripts.members._case import INVERTED, Case
from scripts.members._panel import DRAWN_RATE, N, Panel
from scripts.members._record import Record


def draw(key: jax.Array) -> jax.Array:
    senders = jnp.repeat(jnp.arange(6), N // 6)
    return jaxdrop.drop_message(key, jnp.ones((6, N)), DRAWN_RATE, senders=senders)


RECORD = Record(
    section="Conditions, graphs, experts",
    after="drop_node",
    method="DropMessage",
    paper="Fang 2023",
    one_decision_for="an element of a message along an edge",
    mean_preserved="yes",
    variance_preserved="no",
    use_for="graph networks",
    not_for="more messages than fit into memory",
    cases=(
        Case(
            "drop_message",
            INVERTED,
            options=lambda x: {"senders": jnp.arange(x.shape[0])},  # each node sends once
            lean=False,  # the senders are kept
            bad_input={"senders": "integers"},
        ),
    ),
    layers=(),
    panels=(Panel("drop_message", "edges from 6 nodes", "features", draw),),
    timed=(),
    own_layers=("DropMessage",),
)
