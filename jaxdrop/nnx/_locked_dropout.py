"""Dropout of the features and the words of a sequence as Flax NNX modules."""

from collections.abc import Sequence
from typing import Any

import jax

from jaxdrop._functional.embedding_dropout import embedding_dropout, word_dropout
from jaxdrop._functional.locked_dropout import locked_dropout
from jaxdrop.nnx._member import Member, Streams, held


class LockedDropout(Member):
    """Drop the same features at every time step.

    Calls ``jaxdrop.locked_dropout``, which states formula, moments, paper and invalid uses.

    Args:
      rate, deterministic, rng_collection, rngs: as in ``jaxdrop.nnx.Dropout``.
      time_axis: the dimension along which the mask is fixed; None for -2, where x has three
        dimensions or more.

    >>> import jax.numpy as jnp, jaxdrop.nnx
    >>> from flax import nnx
    >>> layer = jaxdrop.nnx.LockedDropout(0.5, rngs=nnx.Rngs(0))
    >>> y = layer(jnp.ones((2, 9, 3)))
    """

    _function = staticmethod(locked_dropout)

    def __init__(
        self,
        rate: Any,
        *,
        time_axis: int | None = None,
        deterministic: bool | None = False,
        rng_collection: str = "dropout",
        rngs: Streams = None,
    ):
        self.rate = held(rate)
        self._keep_stream(deterministic, rng_collection, rngs)
        self._hand_on(time_axis=time_axis)


class EmbeddingDropout(Member):
    """Drop whole words of an embedding table.

    Calls ``jaxdrop.embedding_dropout``, which states formula, moments, paper and invalid uses.

    Args:
      rate, deterministic, rng_collection, rngs: as in ``jaxdrop.nnx.Dropout``.

    >>> import jax.numpy as jnp, jaxdrop.nnx
    >>> from flax import nnx
    >>> layer = jaxdrop.nnx.EmbeddingDropout(0.5, rngs=nnx.Rngs(0))
    >>> y = layer(jnp.ones((2, 9)))
    """

    _function = staticmethod(embedding_dropout)

    def __call__(
        self,
        inputs: Any,
        *,
        ids: Any = None,
        deterministic: Any = None,
        rngs: Streams | jax.Array = None,
    ) -> jax.Array:
        """Look up the ids in a table of which words are dropped; None returns that table."""
        return self._run(inputs, deterministic, rngs, ids=ids)


class WordDropout(Member):
    """Replace tokens at random by the unknown word.

    Calls ``jaxdrop.word_dropout``, which states formula, moments, paper and invalid uses.

    Args:
      rate, deterministic, rng_collection, rngs: as in ``jaxdrop.nnx.Dropout``.
      unknown: the token that takes the place of a dropped one.
      protected: tokens that are never replaced.

    >>> import jax.numpy as jnp, jaxdrop.nnx
    >>> from flax import nnx
    >>> layer = jaxdrop.nnx.WordDropout(0.5, unknown=0, rngs=nnx.Rngs(0))
    >>> y = layer(jnp.arange(6))
    """

    _function = staticmethod(word_dropout)

    def __init__(
        self,
        rate: Any,
        *,
        unknown: int,
        protected: Sequence[int] = (),
        deterministic: bool | None = False,
        rng_collection: str = "dropout",
        rngs: Streams = None,
    ):
        self.rate = held(rate)
        self._keep_stream(deterministic, rng_collection, rngs)
        self._hand_on(unknown=unknown, protected=protected)
