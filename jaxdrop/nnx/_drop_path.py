"""DropPath as a Flax NNX module."""

from typing import Any

from jaxdrop._core.annotations import MeshAxes
from jaxdrop._functional.drop_path import drop_path
from jaxdrop.nnx._layer import RatedLayer
from jaxdrop.nnx._rate import keep_rate
from jaxdrop.nnx._stream import Streams


class DropPath(RatedLayer):
    """Drop a residual branch for some examples: stochastic depth.

    ``y[n] = x[n] * m[n] / (1 - rate)``, ``P(m[n] = 0) = rate``

    ``jaxdrop.drop_path`` states moments, paper and invalid uses.

    Args:
      rate, deterministic, rng_collection, rngs, mesh_axes: as in ``jaxdrop.nnx.Dropout``.
      batch_axis: the dimension of the examples; None for one decision for all of x.

    >>> import jax, jax.numpy as jnp, jaxdrop.nnx
    >>> layer = jaxdrop.nnx.DropPath(0.5)
    >>> y = layer(jnp.ones((4, 9, 3)), rngs=jax.random.key(0))
    >>> [sorted(set(example.ravel().tolist())) for example in y]
    [[2.0], [2.0], [0.0], [0.0]]
    """

    _function = staticmethod(drop_path)

    def __init__(
        self,
        rate: Any,
        *,
        batch_axis: int | None = 0,
        deterministic: bool | None = False,
        rng_collection: str = "dropout",
        rngs: Streams = None,
        mesh_axes: MeshAxes = (),
    ):
        self.rate = keep_rate(rate)
        self._keep_stream(deterministic, rng_collection, rngs, mesh_axes)
        self._keep_options(batch_axis=batch_axis)
