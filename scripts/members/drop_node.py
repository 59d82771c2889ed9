"""DropNode: You 2020, Papp 2021."""

import jax
import jax.numpy as jnp
import numpy as np

import jaxdrop
from scripts.members._panel import DRAWN_RATE, N, Panel
from scripts.members._record import Record


def draw(key: jax.Array) -> np.ndarray:
    """The matrix of a graph in which all nodes are neighbours."""
    ends = jnp.repeat(jnp.arange(N), N), jnp.tile(jnp.arange(N), N)
    senders, _ = jaxdrop.drop_node(key, ends, DRAWN_RATE, padding_node=N, num_nodes=N)
    return np.asarray(senders < N).reshape(N, N)


RECORD = Record(
    section="Conditions, graphs, experts",
    after="drop_edge",
    method="DropNode",
    paper="You 2020, Papp 2021",
    one_decision_for="a node, with all its edges",
    mean_preserved="no",
    variance_preserved="no",
    use_for="graph networks, contrastive learning",
    not_for="nodes of few neighbours",
    cases=(),  # it takes a graph
    layers=(),
    panels=(Panel("drop_node", "senders", "receivers", draw),),
    timed=(),
    helpers=("drop_node",),
    own_layers=("DropNode",),
)
