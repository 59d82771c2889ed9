"""DropPath as a Flax Linen module."""

from jaxdrop._functional.drop_path import drop_path
from jaxdrop.linen._layer import RatedLayer


class DropPath(RatedLayer, kw_only=True):
    """Drop a residual branch for some examples: stochastic depth.

    ``y[n] = x[n] * m[n] / (1 - rate)``, ``P(m[n] = 0) = rate``

    ``jaxdrop.drop_path`` states moments, paper and invalid uses.

    Attributes:
      rate, deterministic, rng_collection, mesh_axes: as in ``jaxdrop.linen.Dropout``.
      batch_axis: the dimension of the examples; None for one decision for all of x.

    >>> import jax, jax.numpy as jnp, jaxdrop.linen
    >>> layer = jaxdrop.linen.DropPath(0.5, deterministic=False)
    >>> y = layer.apply({}, jnp.ones((4, 9, 3)), rng=jax.random.key(0))
    >>> [sorted(set(example.ravel().tolist())) for example in y]
    [[2.0], [2.0], [0.0], [0.0]]
    """

    batch_axis: int | None = 0

    _function = staticmethod(drop_path)
