"""DropEdge as a Flax NNX module."""

from typing import Any

from flax import nnx

from jaxdrop._flax.call import call
from jaxdrop._functional.drop_edge import drop_edge
from jaxdrop.nnx._layer import DropoutLayer
from jaxdrop.nnx._rate import keep_rate, read_rate
from jaxdrop.nnx._stream import Streams


class DropEdge(DropoutLayer, nnx.Module):
    """Drop edges of a graph; its arrays keep their shapes.

    ``senders[e], receivers[e] = padding_node``

    ``jaxdrop.drop_edge`` states paper and invalid uses.

    Args:
      rate, deterministic, rng_collection, rngs: as in ``jaxdrop.nnx.Dropout``.
      padding_node: where dropped edges go.
      undirected: True decides once for both directions of an edge.

    >>> import jax, jax.numpy as jnp, jaxdrop.nnx
    >>> layer = jaxdrop.nnx.DropEdge(0.5, padding_node=3, undirected=True)
    >>> graph = jnp.array([0, 1, 1, 2, 2, 0]), jnp.array([1, 0, 2, 1, 0, 2])
    >>> layer(graph, rngs=jax.random.key(0))[0].tolist()
    [0, 1, 1, 2, 3, 3]
    """

    def __init__(
        self,
        rate: Any,
        *,
        padding_node: int,
        undirected: bool = False,
        deterministic: bool | None = False,
        rng_collection: str = "dropout",
        rngs: Streams = None,
    ):
        self.rate = keep_rate(rate)
        self.padding_node = padding_node
        self.undirected = undirected
        self._keep_stream(deterministic, rng_collection, rngs)

    def __call__(self, inputs: Any, *, deterministic: Any = None, rngs: Any = None) -> Any:
        """Return the graph ``inputs`` without what is dropped; ``rngs`` may be a key to use."""
        return call(
            drop_edge,
            lambda: self._key(rngs),
            inputs,
            read_rate(self.rate),
            self._mode(deterministic),
            padding_node=self.padding_node,
            undirected=self.undirected,
        )
