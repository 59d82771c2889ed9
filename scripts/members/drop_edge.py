"""DropEdge: Rong 2020."""

import jax
import jax.numpy as jnp
import numpy as np

import jaxdrop
from scripts.members._panel import DRAWN_RATE, N, Panel
from scripts.members._record import Record


def draw(key: jax.Array) -> np.ndarray:
    """The matrix of a graph in which all nodes are neighbours."""
    ends = jnp.repeat(jnp.arange(N), N), jnp.tile(jnp.arange(N), N)
    senders, _ = jaxdrop.drop_edge(key, ends, DRAWN_RATE, padding_node=N, undirected=True)
    return np.asarray(senders < N).reshape(N, N)


RECORD = Record(
    section="Conditions, graphs, experts",
    after="modality_dropout",
    method="DropEdge",
    paper="Rong 2020",
    one_decision_for="an edge, or both directions of it",
    mean_preserved="no: degrees are to be counted anew",
    variance_preserved="no",
    use_for="deep graph networks",
    not_for="trees and molecules",
    cases=(),  # it takes a graph
    layers=(),
    panels=(Panel("drop_edge", "senders", "receivers", draw),),
    timed=(),
    helpers=("drop_edge", "edge_keep_mask"),
    own_layers=("DropEdge",),
)
