"""ConditionDropout as a Flax NNX module."""

from typing import Any

from jaxdrop._core.annotations import MeshAxes
from jaxdrop._functional.condition_dropout import condition_dropout
from jaxdrop.nnx._layer import RatedLayer
from jaxdrop.nnx._rate import keep_rate
from jaxdrop.nnx._stream import Streams


class ConditionDropout(RatedLayer):
    """Replace the condition of some examples by a null one, for classifier-free guidance.

    ``y[n] = x[n] if m[n] else null``, ``P(m[n] = 0) = rate``

    ``jaxdrop.condition_dropout`` states paper and invalid uses.

    Args:
      rate, deterministic, rng_collection, rngs, mesh_axes: as in ``jaxdrop.nnx.Dropout``.
      null: what takes the place of a condition.
      batch_axis: the dimension of the examples, or None.

    >>> import jax, jax.numpy as jnp, jaxdrop.nnx
    >>> layer = jaxdrop.nnx.ConditionDropout(0.5, null=10)
    >>> layer(jnp.arange(8), rngs=jax.random.key(0)).tolist()
    [0, 1, 10, 10, 4, 10, 6, 10]
    """

    _function = staticmethod(condition_dropout)

    def __init__(
        self,
        rate: Any,
        *,
        null: Any,
        batch_axis: int | None = 0,
        deterministic: bool | None = False,
        rng_collection: str = "dropout",
        rngs: Streams = None,
        mesh_axes: MeshAxes = (),
    ):
        self.rate = keep_rate(rate)
        self._keep_stream(deterministic, rng_collection, rngs, mesh_axes)
        self._keep_options(null=null, batch_axis=batch_axis)
