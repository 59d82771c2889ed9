"""DropNode as a Flax Linen module."""

import dataclasses
from typing import Any

import jax
from flax import linen as nn

from jaxdrop._flax.call import call
from jaxdrop._functional.drop_node import drop_node
from jaxdrop.linen._layer import DropoutLayer


class DropNode(DropoutLayer, nn.Module):
    """Drop nodes of a graph with all their edges; its arrays keep their shapes.

    ``nodes[i] = 0``

    ``jaxdrop.drop_node`` states paper and invalid uses.

    Attributes:
      rate, deterministic, rng_collection: as in ``jaxdrop.linen.Dropout``.
      padding_node: where dropped edges go.
      num_nodes: number of nodes, for graphs without ``nodes``.

    >>> import jax, jax.numpy as jnp, jaxdrop.linen
    >>> layer = jaxdrop.linen.DropNode(0.5, padding_node=3, num_nodes=3, deterministic=False)
    >>> graph = jnp.array([0, 1, 1, 2, 2, 0]), jnp.array([1, 0, 2, 1, 0, 2])
    >>> layer.apply({}, graph, rng=jax.random.key(0))[0].tolist()
    [0, 1, 3, 3, 3, 3]
    """

    rate: Any
    _: dataclasses.KW_ONLY
    padding_node: int
    num_nodes: int | None = None
    deterministic: bool | None = None
    rng_collection: str = "dropout"

    @nn.compact
    def __call__(self, inputs: Any, deterministic: Any = None, rng: jax.Array | None = None) -> Any:
        """Return the graph ``inputs`` without what is dropped; ``rng`` is a key to use."""
        return call(
            drop_node,
            lambda: self._key(rng),
            inputs,
            self.rate,
            self._mode(deterministic),
            padding_node=self.padding_node,
            num_nodes=self.num_nodes,
        )
