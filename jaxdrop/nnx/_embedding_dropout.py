"""EmbeddingDropout as a Flax NNX module."""

from typing import Any

import jax

from jaxdrop._core.annotations import AnyArray
from jaxdrop._functional.embedding_dropout import embedding_dropout
from jaxdrop.nnx._layer import RatedLayer
from jaxdrop.nnx._stream import Streams


class EmbeddingDropout(RatedLayer):
    """Drop whole words of an embedding table.

    ``y = (table * m[:, None] / (1 - rate))[ids]``, ``P(m[word] = 0) = rate``

    ``jaxdrop.embedding_dropout`` states moments, paper and invalid uses.

    Args:
      rate, deterministic, rng_collection, rngs, mesh_axes: as in ``jaxdrop.nnx.Dropout``.

    >>> import jax.numpy as jnp, jaxdrop.nnx
    >>> from flax import nnx
    >>> layer = jaxdrop.nnx.EmbeddingDropout(0.5, rngs=nnx.Rngs(0))
    >>> y = layer(jnp.ones((5, 4)), ids=jnp.array([3, 1, 3]))
    >>> bool((y[0] == y[2]).all())
    True
    """

    _function = staticmethod(embedding_dropout)

    def __call__(
        self,
        inputs: Any,
        *,
        ids: Any = None,
        deterministic: Any = None,
        rngs: Streams | AnyArray = None,
    ) -> jax.Array:
        """Look up the ids in the table with words dropped; None returns that table."""
        return self._run(inputs, deterministic, rngs, ids=ids)
