"""RowDropout as a Flax Linen module."""

from jaxdrop._functional.row_dropout import row_dropout
from jaxdrop.linen._layer import RatedLayer


class RowDropout(RatedLayer, kw_only=True):
    """Drop whole rows: ``jaxdrop.row_dropout``.

    ``y[..., j] = x[..., j] * m[...] / (1 - rate)``, ``P(m[...] = 0) = rate``

    Attributes:
      rate, deterministic, rng_collection, mesh_axes: as in ``jaxdrop.linen.Dropout``.

    >>> import jax, jax.numpy as jnp, jaxdrop.linen
    >>> layer = jaxdrop.linen.RowDropout(0.5, deterministic=False)
    >>> y = layer.apply({}, jnp.ones((8, 3)), rngs={"dropout": jax.random.key(0)})
    >>> bool((y == y[:, :1]).all())
    True
    """

    _function = staticmethod(row_dropout)
