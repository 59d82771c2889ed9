"""ConditionDropout as a Flax Linen module."""

from typing import Any

from jaxdrop._functional.condition_dropout import condition_dropout
from jaxdrop.linen._layer import RatedLayer


class ConditionDropout(RatedLayer, kw_only=True):
    """Replace the condition of some examples by a null one, for classifier-free guidance.

    ``y[n] = x[n] if m[n] else null``, ``P(m[n] = 0) = rate``

    ``jaxdrop.condition_dropout`` states paper and invalid uses.

    Attributes:
      rate, deterministic, rng_collection, mesh_axes: as in ``jaxdrop.linen.Dropout``.
      null: what takes the place of a condition.
      batch_axis: the dimension of the examples, or None.

    >>> import jax, jax.numpy as jnp, jaxdrop.linen
    >>> layer = jaxdrop.linen.ConditionDropout(0.5, null=10, deterministic=False)
    >>> layer.apply({}, jnp.arange(8), rng=jax.random.key(0)).tolist()
    [0, 1, 10, 10, 4, 10, 6, 10]
    """

    null: Any
    batch_axis: int | None = 0

    _function = staticmethod(condition_dropout)
