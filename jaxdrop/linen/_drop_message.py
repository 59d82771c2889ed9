"""DropMessage as a Flax Linen module."""

from typing import Any

import jax
from flax import linen as nn

from jaxdrop._functional.drop_message import drop_message
from jaxdrop.linen._layer import RatedLayer


class DropMessage(RatedLayer, kw_only=True):
    """Drop elements of the messages of a graph, so that each edge has its own.

    ``y[e, j] = x[senders[e], j] * m[e, j] / (1 - rate)``

    ``jaxdrop.drop_message`` states moments, paper and invalid uses.

    Attributes:
      rate, deterministic, rng_collection, mesh_axes: as in ``jaxdrop.linen.Dropout``.

    >>> import jax, jax.numpy as jnp, jaxdrop.linen
    >>> layer = jaxdrop.linen.DropMessage(0.5, deterministic=False)
    >>> x, senders = jnp.ones((2, 3)), jnp.array([0, 0, 1])
    >>> layer.apply({}, x, senders=senders, rng=jax.random.key(0)).tolist()
    [[2.0, 2.0, 0.0], [0.0, 2.0, 0.0], [2.0, 0.0, 0.0]]
    """

    _function = staticmethod(drop_message)

    @nn.compact
    def __call__(
        self,
        inputs: Any,
        deterministic: Any = None,
        rng: jax.Array | None = None,
        *,
        senders: Any = None,
    ) -> jax.Array:
        """Return the messages of the nodes that send, with elements dropped."""
        return self._run(inputs, deterministic, rng, senders=senders)
