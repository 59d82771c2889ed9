"""Graphs as pairs (senders, receivers), or as named tuples that have both, such as jraph's."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxdrop._core.checks import check_integer
from jaxdrop._functional.embedding_dropout import check_ids


def ends_of(graph: Any, caller: str) -> tuple[jax.Array, jax.Array]:
    """Return senders and receivers, or raise an error if the graph does not have them."""
    if hasattr(graph, "senders") and hasattr(graph, "receivers") and hasattr(graph, "_replace"):
        given = graph.senders, graph.receivers
    elif isinstance(graph, (tuple, list)) and len(graph) == 2:
        given = tuple(graph)
    else:
        raise TypeError(
            f"got graph={graph!r:.60} of type {type(graph).__name__}; {caller} takes a pair "
            "(senders, receivers), or a named tuple that has both, such as jraph's GraphsTuple"
        )
    senders = check_ids(given[0], "senders", caller)
    receivers = check_ids(given[1], "receivers", caller)
    if senders.ndim != 1 or senders.shape != receivers.shape:
        raise ValueError(
            f"got senders of shape {senders.shape} and receivers of shape {receivers.shape}; "
            f"{caller} takes both as (edges,)"
        )
    return senders, receivers


def with_ends(graph: Any, senders: jax.Array, receivers: jax.Array, **more: Any) -> Any:
    """Return the graph with other ends, and other arrays, in the place of its own."""
    if hasattr(graph, "_replace") and hasattr(graph, "senders"):
        return graph._replace(senders=senders, receivers=receivers, **more)
    return type(graph)((senders, receivers))


def node_count(graph: Any) -> int | None:
    """Return the number of nodes, where the graph has features of nodes."""
    leaves = jax.tree.leaves(getattr(graph, "nodes", None))
    return jnp.shape(leaves[0])[0] if leaves and jnp.ndim(leaves[0]) else None


def check_padding(padding_node: Any, graph: Any, dtype: Any) -> int:
    """Return the node to which dropped edges go, counted from the front."""
    limit = jnp.iinfo(dtype).max
    expected = "a node, such as -1 for the last one"
    node, count = check_integer(padding_node, "padding_node", expected), node_count(graph)
    if node > limit:
        raise ValueError(
            f"got padding_node={node} for nodes of dtype {dtype}, expected {limit} at most"
        )
    if node >= 0:
        return node
    if count is None or node < -count:
        raise ValueError(
            f"got padding_node={node} for a graph of {count or 'an unknown number of'} nodes; "
            f"expected {expected}, counted from 0 where the graph has no features of nodes"
        )
    return count + node
