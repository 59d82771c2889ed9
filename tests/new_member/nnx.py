"""RowDropout as a Flax NNX module."""

from jaxdrop._functional.row_dropout import row_dropout
from jaxdrop.nnx._layer import RatedLayer


class RowDropout(RatedLayer):
    """Drop whole rows: ``jaxdrop.row_dropout``.

    ``y[..., j] = x[..., j] * m[...] / (1 - rate)``, ``P(m[...] = 0) = rate``

    Args:
      rate, deterministic, rng_collection, rngs, mesh_axes: as in ``jaxdrop.nnx.Dropout``.

    >>> import jax.numpy as jnp, jaxdrop.nnx
    >>> from flax import nnx
    >>> y = jaxdrop.nnx.RowDropout(0.5, rngs=nnx.Rngs(0))(jnp.ones((8, 3)))
    >>> bool((y == y[:, :1]).all())
    True
    """

    _function = staticmethod(row_dropout)
