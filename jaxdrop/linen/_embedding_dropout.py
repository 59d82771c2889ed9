"""EmbeddingDropout as a Flax Linen module."""

from typing import Any

import jax
from flax import linen as nn

from jaxdrop._functional.embedding_dropout import embedding_dropout
from jaxdrop.linen._layer import RatedLayer


class EmbeddingDropout(RatedLayer, kw_only=True):
    """Drop whole words of an embedding table.

    ``y = (table * m[:, None] / (1 - rate))[ids]``, ``P(m[word] = 0) = rate``

    ``jaxdrop.embedding_dropout`` states moments, paper and invalid uses.

    Attributes:
      rate, deterministic, rng_collection, mesh_axes: as in ``jaxdrop.linen.Dropout``.

    >>> import jax, jax.numpy as jnp, jaxdrop.linen
    >>> layer = jaxdrop.linen.EmbeddingDropout(0.5, deterministic=False)
    >>> x, ids = jnp.ones((5, 4)), jnp.array([3, 1, 3])
    >>> y = layer.apply({}, x, ids=ids, rngs={"dropout": jax.random.key(0)})
    >>> bool((y[0] == y[2]).all())
    True
    """

    _function = staticmethod(embedding_dropout)

    @nn.compact
    def __call__(
        self,
        inputs: Any,
        deterministic: Any = None,
        rng: jax.Array | None = None,
        *,
        ids: Any = None,
    ) -> jax.Array:
        """Look up the ids in the table with words dropped; None returns that table."""
        return self._run(inputs, deterministic, rng, ids=ids)
