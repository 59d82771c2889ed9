"""drop_node: nodes of a graph, with all their edges."""

from typing import Any, TypeVar

import jax
import jax.numpy as jnp

from jaxdrop._core.annotations import Flag, RateLike
from jaxdrop._core.checks import check_count
from jaxdrop._core.key import AnyKey
from jaxdrop._core.mask import keep_mask
from jaxdrop._core.mode import resolve
from jaxdrop._core.rate import check_rate
from jaxdrop._functional.condition_dropout import of_examples, replace
from jaxdrop._functional.graph import check_padding, ends_of, node_count, with_ends

Graph = TypeVar("Graph")


def drop_node(
    key: AnyKey | None,
    graph: Graph,
    rate: RateLike,
    *,
    padding_node: int,
    num_nodes: int | None = None,
    deterministic: Flag = False,
) -> Graph:
    """Drop nodes of a graph with all their edges; its arrays keep their shapes.

    ``nodes[i] = 0`` where i is dropped, and every edge at it goes to ``padding_node``.

    Args:
      key: a random key; may be None when deterministic is True or rate is 0 or 1.
      graph: a pair (senders, receivers), or a named tuple that has both, as in ``drop_edge``. If it
        has ``nodes``, arrays (nodes, ...), those of dropped ones are 0.
      rate: probability of dropping a node, as in ``dropout``; one number, or one for each node.
      padding_node: where dropped edges go, as in ``drop_edge``.
      num_nodes: number of nodes, for a graph without ``nodes``.
      deterministic: True for test time; a bool, or a traced bool scalar.

    Returns:
      A graph of the same kind. Nothing is scaled. ``keep_mask(key, (num_nodes,), rate)`` is the
      mask of the nodes, for a readout that should not count the dropped ones.

    Raises:
      TypeError: as ``drop_edge``.
      ValueError: as ``drop_edge``, and if the graph does not say how many nodes it has.

    Not for: graphs in which most nodes have few neighbours, all of which may be gone. To drop
    features of nodes alone, with scaling (GRAND), call ``dropout`` with ``broadcast_dims=(1,)``.

    Reference:
      You et al., Graph Contrastive Learning with Augmentations, 2020; Papp et al., DropGNN: Random
      Dropouts Increase the Expressiveness of Graph Neural Networks, 2021.

    >>> import jax, jax.numpy as jnp, jaxdrop
    >>> graph = jnp.array([0, 1, 1, 2, 2, 0]), jnp.array([1, 0, 2, 1, 0, 2])
    >>> dropped = jaxdrop.drop_node(jax.random.key(0), graph, 0.5, padding_node=3, num_nodes=3)
    >>> jaxdrop.keep_mask(jax.random.key(0), (3,), 0.5).tolist(), dropped[0].tolist()
    ([True, True, False], [0, 1, 3, 3, 3, 3])
    """
    senders, receivers = ends_of(graph, "drop_node")
    count = node_count(graph)
    if count is None:
        if num_nodes is None:
            raise ValueError(
                "got num_nodes=None for a graph without features of nodes; give the number of "
                "nodes to drop_node"
            )
        count = check_count(num_nodes, "num_nodes", "the nodes of the graph")
    padding = check_padding(padding_node, graph, senders.dtype)
    key, test_mode = resolve(key, check_rate(rate), deterministic, "drop_node")
    if test_mode is True:
        return graph
    kept = keep_mask(key, (count,), rate) | test_mode
    both = _at(kept, senders) & _at(kept, receivers)
    ends = (jnp.where(both, end, padding) for end in (senders, receivers))
    nodes = getattr(graph, "nodes", None)
    if nodes is None:
        return with_ends(graph, *ends)
    return with_ends(graph, *ends, nodes=jax.tree.map(lambda x: _zeroed(kept, x), nodes))


def _at(kept: jax.Array, ends: jax.Array) -> jax.Array:
    """Whether the nodes are kept; one beyond the last, as padding may be, is."""
    return kept.at[ends].get(mode="fill", fill_value=True)


def _zeroed(kept: jax.Array, x: Any) -> jax.Array:
    x = jnp.asarray(x)
    return replace(of_examples(kept, x), x, jnp.zeros((1,) * x.ndim, x.dtype))
