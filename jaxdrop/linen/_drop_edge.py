"""DropEdge as a Flax Linen module."""

import dataclasses
from typing import Any

import jax
from flax import linen as nn

from jaxdrop._flax.call import call
from jaxdrop._functional.drop_edge import drop_edge
from jaxdrop.linen._layer import DropoutLayer


class DropEdge(DropoutLayer, nn.Module):
    """Drop edges of a graph; its arrays keep their shapes.

    ``senders[e], receivers[e] = padding_node``

    ``jaxdrop.drop_edge`` states paper and invalid uses.

    Attributes:
      rate, deterministic, rng_collection: as in ``jaxdrop.linen.Dropout``.
      padding_node: where dropped edges go.
      undirected: True decides once for both directions of an edge.

    >>> import jax, jax.numpy as jnp, jaxdrop.linen
    >>> layer = jaxdrop.linen.DropEdge(0.5, padding_node=3, undirected=True, deterministic=False)
    >>> graph = jnp.array([0, 1, 1, 2, 2, 0]), jnp.array([1, 0, 2, 1, 0, 2])
    >>> layer.apply({}, graph, rng=jax.random.key(0))[0].tolist()
    [0, 1, 1, 2, 3, 3]
    """

    rate: Any
    _: dataclasses.KW_ONLY
    padding_node: int
    undirected: bool = False
    deterministic: bool | None = None
    rng_collection: str = "dropout"

    @nn.compact
    def __call__(self, inputs: Any, deterministic: Any = None, rng: jax.Array | None = None) -> Any:
        """Return the graph ``inputs`` without what is dropped; ``rng`` is a key to use."""
        return call(
            drop_edge,
            lambda: self._key(rng),
            inputs,
            self.rate,
            self._mode(deterministic),
            padding_node=self.padding_node,
            undirected=self.undirected,
        )
