"""Dropout of the features and the words of a sequence as Flax Linen modules."""

from collections.abc import Sequence
from typing import Any

import jax
from flax import linen as nn

from jaxdrop._functional.embedding_dropout import embedding_dropout, word_dropout
from jaxdrop._functional.locked_dropout import locked_dropout
from jaxdrop.linen._member import Member


class LockedDropout(Member, kw_only=True):
    """Drop the same features at every time step.

    Calls ``jaxdrop.locked_dropout``, which states formula, moments, paper and invalid uses.

    Attributes:
      rate, deterministic, rng_collection: as in ``jaxdrop.linen.Dropout``.
      time_axis: the dimension along which the mask is fixed; None for -2, where x has three
        dimensions or more.

    >>> import jax, jax.numpy as jnp, jaxdrop.linen
    >>> layer = jaxdrop.linen.LockedDropout(0.5, deterministic=False)
    >>> y = layer.apply({}, jnp.ones((2, 9, 3)), rngs={"dropout": jax.random.key(0)})
    """

    time_axis: int | None = None

    _function = staticmethod(locked_dropout)


class EmbeddingDropout(Member, kw_only=True):
    """Drop whole words of an embedding table.

    Calls ``jaxdrop.embedding_dropout``, which states formula, moments, paper and invalid uses.

    Attributes:
      rate, deterministic, rng_collection: as in ``jaxdrop.linen.Dropout``.

    >>> import jax, jax.numpy as jnp, jaxdrop.linen
    >>> layer = jaxdrop.linen.EmbeddingDropout(0.5, deterministic=False)
    >>> y = layer.apply({}, jnp.ones((2, 9)), rngs={"dropout": jax.random.key(0)})
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
        """Look up the ids in a table of which words are dropped; None returns that table."""
        return self._run(inputs, deterministic, rng, ids=ids)


class WordDropout(Member, kw_only=True):
    """Replace tokens at random by the unknown word.

    Calls ``jaxdrop.word_dropout``, which states formula, moments, paper and invalid uses.

    Attributes:
      rate, deterministic, rng_collection: as in ``jaxdrop.linen.Dropout``.
      unknown: the token that takes the place of a dropped one.
      protected: tokens that are never replaced.

    >>> import jax, jax.numpy as jnp, jaxdrop.linen
    >>> layer = jaxdrop.linen.WordDropout(0.5, unknown=0, deterministic=False)
    >>> y = layer.apply({}, jnp.arange(6), rngs={"dropout": jax.random.key(0)})
    """

    unknown: int
    protected: Sequence[int] = ()

    _function = staticmethod(word_dropout)
