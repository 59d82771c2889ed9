"""drop_message: elements of the messages that the nodes of a graph send along its edges."""

from jaxtyping import Array, Inexact, Integer

from jaxdrop._core.annotations import AnyArray, Flag, MeshAxes, RateLike
from jaxdrop._core.checks import check_input
from jaxdrop._core.key import AnyKey
from jaxdrop._core.mode import resolve
from jaxdrop._core.rate import check_rate
from jaxdrop._functional.dropout import dropout
from jaxdrop._functional.embedding_dropout import check_ids, look_up


def drop_message(
    key: AnyKey | None,
    x: Inexact[AnyArray, "nodes ..."],
    rate: RateLike,
    *,
    senders: Integer[AnyArray, " edges"],
    deterministic: Flag = False,
    mesh_axes: MeshAxes = (),
) -> Inexact[Array, "edges ..."]:
    """Drop elements of the messages of a graph, so that each edge has its own (DropMessage).

    ``y[e, j] = x[senders[e], j] * m[e, j] / (1 - rate)``, ``P(m[e, j] = 0) = rate``

    Args:
      key: a random key; may be None when deterministic is True or rate is 0 or 1.
      x: floating or complex features of the nodes, (nodes, ...).
      rate: probability of dropping an element of a message, as in ``dropout``.
      senders: the node that sends along each edge, (edges,).
      deterministic: True for test time; a bool, or a traced bool scalar.
      mesh_axes: inside ``shard_map``, the mesh axes that split the messages, as in ``dropout``.

    Returns:
      The messages, (edges, ...) in x's dtype, with E[y] = x[senders] and the variance of
      ``dropout``: a node that sends along several edges sends something else along each. Code that
      makes its own messages calls ``dropout`` on them, which is the same.

    Raises:
      TypeError: as ``dropout``, and if senders are no integers.
      ValueError: as ``dropout``, and if x has no dimension.

    Not for: graphs whose messages do not fit into memory beside the features of the nodes.

    Reference:
      Fang et al., DropMessage: Unifying Random Dropping for Graph Neural Networks, 2023.

    >>> import jax, jax.numpy as jnp, jaxdrop
    >>> senders = jnp.array([0, 0, 1])
    >>> jaxdrop.drop_message(jax.random.key(0), jnp.ones((2, 3)), 0.5, senders=senders).tolist()
    [[2.0, 2.0, 0.0], [0.0, 2.0, 0.0], [2.0, 0.0, 0.0]]
    """
    x = check_input(x, "drop_message")
    if not x.ndim:
        raise ValueError("got x of shape (), one number; drop_message takes (nodes, ...)")
    key, test_mode = resolve(key, check_rate(rate), deterministic, "drop_message")
    messages = look_up(x, check_ids(senders, "senders", "drop_message"))
    return dropout(key, messages, rate, deterministic=test_mode, mesh_axes=mesh_axes)
