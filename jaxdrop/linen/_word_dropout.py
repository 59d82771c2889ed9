"""WordDropout as a Flax Linen module."""

from collections.abc import Sequence

from jaxdrop._functional.word_dropout import word_dropout
from jaxdrop.linen._layer import RatedLayer


class WordDropout(RatedLayer, kw_only=True):
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
