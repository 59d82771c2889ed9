"""DropMessage as a Flax NNX module."""

from typing import Any

import jax

from jaxdrop._core.annotations import AnyArray
from jaxdrop._functional.drop_message import drop_message
from jaxdrop.nnx._layer import RatedLayer
from jaxdrop.nnx._stream import Streams


class DropMessage(RatedLayer):
    """Drop elements of the messages of a graph, so that each edge has its own.

    ``y[e, j] = x[senders[e], j] * m[e, j] / (1 - rate)``

    ``jaxdrop.drop_message`` states moments, paper and invalid uses.

    Args:
      rate, deterministic, rng_collection, rngs, mesh_axes: as in ``jaxdrop.nnx.Dropout``.

    >>> import jax, jax.numpy as jnp, jaxdrop.nnx
    >>> layer = jaxdrop.nnx.DropMessage(0.5)
    >>> x, senders = jnp.ones((2, 3)), jnp.array([0, 0, 1])
    >>> layer(x, senders=senders, rngs=jax.random.key(0)).tolist()
    [[2.0, 2.0, 0.0], [0.0, 2.0, 0.0], [2.0, 0.0, 0.0]]
    """

    _function = staticmethod(drop_message)

    def __call__(
        self,
        inputs: Any,
        *,
        senders: Any = None,
        deterministic: Any = None,
        rngs: Streams | AnyArray = None,
    ) -> jax.Array:
        """Return the messages of the nodes that send, with elements dropped."""
        return self._run(inputs, deterministic, rngs, senders=senders)
