"""WordDropout as a Flax Linen module."""

from collections.abc import Sequence

from jaxdrop._functional.word_dropout import word_dropout
from jaxdrop.linen._layer import RatedLayer


class WordDropout(RatedLayer, kw_only=True):
    """Replace tokens at random by the unknown word.

    ``y[i] = tokens[i] if m[i] else unknown``, ``P(m[i] = 0) = rate``

    ``jaxdrop.word_dropout`` states moments, paper and invalid uses.

    Attributes:
      rate, deterministic, rng_collection, mesh_axes: as in ``jaxdrop.linen.Dropout``.
      unknown: the token that takes the place of a dropped one.
      protected: tokens that are never replaced.

    >>> import jax, jax.numpy as jnp, jaxdrop.linen
    >>> layer = jaxdrop.linen.WordDropout(0.5, unknown=0, deterministic=False)
    >>> y = layer.apply({}, jnp.arange(1, 7), rng=jax.random.key(0))
    >>> y.tolist()
    [1, 2, 0, 0, 5, 0]
    """

    unknown: int
    protected: Sequence[int] = ()

    _function = staticmethod(word_dropout)
