"""drop_edge: edges of a graph, decided by the nodes at their ends."""

from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Integer

from jaxdrop._core.annotations import AnyArray, Flag, RateLike
from jaxdrop._core.bits import random_bits
from jaxdrop._core.checks import check_switch
from jaxdrop._core.key import AnyKey
from jaxdrop._core.mask import is_kept, mask_params
from jaxdrop._core.mode import resolve
from jaxdrop._core.rate import check_rate, check_rate_shape
from jaxdrop._functional.embedding_dropout import check_ids
from jaxdrop._functional.graph import check_padding, ends_of, with_ends

Graph = TypeVar("Graph")
_NODES = 1 << 31  # more than any int32 counts


def drop_edge(
    key: AnyKey | None,
    graph: Graph,
    rate: RateLike,
    *,
    padding_node: int,
    undirected: bool = False,
    deterministic: Flag = False,
) -> Graph:
    """Drop edges of a graph; its arrays keep their shapes (DropEdge).

    ``senders[e], receivers[e] = padding_node`` with probability rate

    Args:
      key: a random key; may be None when deterministic is True or rate is 0 or 1.
      graph: a pair (senders, receivers) of integer arrays (edges,), or a named tuple that has both,
        such as jraph's ``GraphsTuple``.
      rate: probability of dropping an edge, as in ``dropout``; one number, or one for each edge.
      padding_node: where dropped edges go: a node that stands for nothing, such as the last, -1,
        after ``jraph.pad_with_graphs``. A negative one counts from the end of the graph's nodes.
        The number of nodes, one beyond the last, is taken, too: ``jax.ops.segment_sum`` and its
        like leave out what goes there.
      undirected: True decides once for both directions of an edge.
      deterministic: True for test time; a bool, or a traced bool scalar.

    Returns:
      A graph of the same kind. Nothing is scaled: normalise by the degrees of the new graph, as the
      paper does. ``edge_keep_mask`` is the mask, for code that multiplies messages by it.

    Raises:
      TypeError: if the graph has no senders and receivers, or they hold no integers.
      ValueError: as ``dropout``, and if senders and receivers differ in shape, or padding_node is
        negative and the graph does not say how many nodes it has.

    Not for: trees and molecules, where one edge less is another thing.

    Reference:
      Rong et al., DropEdge: Towards Deep Graph Convolutional Networks on Node Classification, 2020.

    >>> import jax, jax.numpy as jnp, jaxdrop
    >>> graph = jnp.array([0, 1, 1, 2, 2, 0]), jnp.array([1, 0, 2, 1, 0, 2])
    >>> dropped = jaxdrop.drop_edge(jax.random.key(0), graph, 0.5, padding_node=3, undirected=True)
    >>> dropped[0].tolist(), dropped[1].tolist()
    ([0, 1, 1, 2, 3, 3], [1, 0, 2, 1, 3, 3])
    """
    senders, receivers = ends_of(graph, "drop_edge")
    undirected = check_switch(undirected, "undirected")
    padding = check_padding(padding_node, graph, senders.dtype)
    checked = check_rate(rate)
    check_rate_shape(checked, senders.shape)
    key, test_mode = resolve(key, checked, deterministic, "drop_edge")
    if test_mode is True:
        return graph
    kept = _kept(key, senders, receivers, checked, undirected) | test_mode
    return with_ends(graph, *(jnp.where(kept, end, padding) for end in (senders, receivers)))


def edge_keep_mask(
    key: AnyKey | None,
    senders: Integer[AnyArray, " edges"],
    receivers: Integer[AnyArray, " edges"],
    rate: RateLike,
    *,
    undirected: bool = False,
) -> Bool[Array, " edges"]:
    """Draw the mask that ``drop_edge`` uses: True where an edge is kept.

    Args:
      key, rate, undirected: as in ``drop_edge``.
      senders, receivers: the nodes at the ends of each edge, 0 or more.

    Returns:
      bool array (edges,), P(False) = rate. A decision is a function of the key and of the two
      nodes: it does not depend on the order of the edges, on padding, or on the shard that holds
      them. Parallel edges are therefore dropped together.

    Raises:
      TypeError: if senders or receivers are no integers.
      ValueError: as ``keep_mask``, and if senders and receivers differ in shape.

    >>> import jax, jax.numpy as jnp, jaxdrop
    >>> a, b = jnp.array([0, 1, 5, 7]), jnp.array([1, 0, 7, 5])
    >>> jaxdrop.edge_keep_mask(jax.random.key(0), a, b, 0.5, undirected=True).tolist()
    [True, True, False, False]
    """
    ends = (
        check_ids(senders, "senders", "edge_keep_mask"),
        check_ids(receivers, "receivers", "edge_keep_mask"),
    )
    senders, receivers = ends_of(ends, "edge_keep_mask")
    undirected = check_switch(undirected, "undirected")
    checked = check_rate(rate)
    check_rate_shape(checked, senders.shape)
    key, test_mode = resolve(key, checked, False, "edge_keep_mask")
    if test_mode is True:
        return jnp.ones(senders.shape, jnp.bool_)
    return _kept(key, senders, receivers, checked, undirected)


def _kept(key: Any, senders: Any, receivers: Any, rate: Any, undirected: bool) -> jax.Array:
    if rate.always:
        return jnp.zeros(senders.shape, jnp.bool_)
    first, second = senders, receivers
    if undirected:
        first, second = jnp.minimum(senders, receivers), jnp.maximum(senders, receivers)
    return is_kept(_words(key, first, second), mask_params(rate))


@jax.jit
def _words(key: Any, first: jax.Array, second: jax.Array) -> jax.Array:
    """The random word of each pair of nodes: that of its element in a matrix of all pairs."""

    def word(row: jax.Array, column: jax.Array) -> jax.Array:
        at, matrix = (row, column), (_NODES, _NODES)
        return random_bits(key, (1, 1), index_offset=at, global_shape=matrix)[0, 0]

    return jax.vmap(word)(first, second)
