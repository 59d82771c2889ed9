"""DropNode as a Flax NNX module."""

from typing import Any

from flax import nnx

from jaxdrop._flax.call import call
from jaxdrop._functional.drop_node import drop_node
from jaxdrop.nnx._layer import DropoutLayer
from jaxdrop.nnx._rate import keep_rate, read_rate
from jaxdrop.nnx._stream import Streams


class DropNode(DropoutLayer, nnx.Module):
    """Drop nodes of a graph with all their edges; its arrays keep their shapes.

    ``nodes[i] = 0``

    ``jaxdrop.drop_node`` states paper and invalid uses.

    Args:
      rate, deterministic, rng_collection, rngs: as in ``jaxdrop.nnx.Dropout``.
      padding_node: where dropped edges go.
      num_nodes: number of nodes, for graphs without ``nodes``.

    >>> import jax, jax.numpy as jnp, jaxdrop.nnx
    >>> layer = jaxdrop.nnx.DropNode(0.5, padding_node=3, num_nodes=3)
    >>> graph = jnp.array([0, 1, 1, 2, 2, 0]), jnp.array([1, 0, 2, 1, 0, 2])
    >>> layer(graph, rngs=jax.random.key(0))[0].tolist()
    [0, 1, 3, 3, 3, 3]
    """

    def __init__(
        self,
        rate: Any,
        *,
        padding_node: int,
        num_nodes: int | None = None,
        deterministic: bool | None = False,
        rng_collection: str = "dropout",
        rngs: Streams = None,
    ):
        self.rate = keep_rate(rate)
        self.padding_node = padding_node
        self.num_nodes = num_nodes
        self._keep_stream(deterministic, rng_collection, rngs)

    def __call__(self, inputs: Any, *, deterministic: Any = None, rngs: Any = None) -> Any:
        """Return the graph ``inputs`` without what is dropped; ``rngs`` may be a key to use."""
        return call(
            drop_node,
            lambda: self._key(rngs),
            inputs,
            read_rate(self.rate),
            self._mode(deterministic),
            padding_node=self.padding_node,
            num_nodes=self.num_nodes,
        )
