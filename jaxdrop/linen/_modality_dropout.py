"""ModalityDropout as a Flax Linen module."""

from jaxdrop._functional.modality_dropout import modality_dropout
from jaxdrop.linen._layer import RatedLayer


class ModalityDropout(RatedLayer, kw_only=True):
    """Drop whole inputs of an example, such as its image or its text.

    ``y[i][n] = x[i][n] if m[n, i] else 0``

    ``jaxdrop.modality_dropout`` states law, paper and invalid uses.

    Attributes:
      rate, deterministic, rng_collection, mesh_axes: as in ``jaxdrop.linen.Dropout``.
      keep_one: True keeps at least one modality of each example.

    >>> import jax, jax.numpy as jnp, jaxdrop.linen
    >>> layer = jaxdrop.linen.ModalityDropout(0.5, deterministic=False)
    >>> inputs = {"image": jnp.ones((6, 4, 4, 3)), "text": jnp.ones(6)}
    >>> layer.apply({}, inputs, rng=jax.random.key(0))["text"].tolist()
    [1.0, 1.0, 0.0, 0.0, 1.0, 0.0]
    """

    keep_one: bool = True

    _function = staticmethod(modality_dropout)
    _draws_at_one = True
