"""PatchDropout as a Flax Linen module."""

from jaxdrop._functional.patch_dropout import patch_dropout
from jaxdrop.linen._layer import RatedLayer


class PatchDropout(RatedLayer, kw_only=True):
    """Keep a random subset of the tokens of every example.

    ``y = x[n, kept[n]]``, the prefix and a random ``1 - rate`` of the other tokens kept

    ``jaxdrop.patch_dropout`` states moments, paper and invalid uses.

    Attributes:
      rate, deterministic, rng_collection, mesh_axes: as in ``jaxdrop.linen.Dropout``.
      prefix: number of leading tokens that are always kept.

    >>> import jax, jax.numpy as jnp, jaxdrop.linen
    >>> layer = jaxdrop.linen.PatchDropout(0.5, deterministic=False)
    >>> y = layer.apply({}, jnp.arange(9.0).reshape(1, 9, 1), rngs={"dropout": jax.random.key(0)})
    >>> y.shape, float(y[0, 0, 0])
    ((1, 5, 1), 0.0)
    """

    prefix: int = 1

    _function = staticmethod(patch_dropout)
    _draws_at_one = True
