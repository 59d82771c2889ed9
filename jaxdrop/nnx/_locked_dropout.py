"""LockedDropout as a Flax NNX module."""

from typing import Any

from jaxdrop._core.annotations import MeshAxes
from jaxdrop._functional.locked_dropout import locked_dropout
from jaxdrop.nnx._layer import RatedLayer
from jaxdrop.nnx._rate import keep_rate
from jaxdrop.nnx._stream import Streams


class LockedDropout(RatedLayer):
    """Drop the same features at every time step.

    ``y[n, t, f] = x[n, t, f] * m[n, f] / (1 - rate)``, ``P(m[n, f] = 0) = rate``

    ``jaxdrop.locked_dropout`` states moments, paper and invalid uses.

    Args:
      rate, deterministic, rng_collection, rngs, mesh_axes: as in ``jaxdrop.nnx.Dropout``.
      time_axis: the dimension along which the mask is fixed; None for -2, where x has three
        dimensions or more.

    >>> import jax.numpy as jnp, jaxdrop.nnx
    >>> from flax import nnx
    >>> layer = jaxdrop.nnx.LockedDropout(0.5, rngs=nnx.Rngs(0))
    >>> y = layer(jnp.ones((2, 7, 4)))
    >>> bool((y == y[:, :1]).all()), sorted(set(y.ravel().tolist()))
    (True, [0.0, 2.0])
    """

    _function = staticmethod(locked_dropout)

    def __init__(
        self,
        rate: Any,
        *,
        time_axis: int | None = None,
        deterministic: bool | None = False,
        rng_collection: str = "dropout",
        rngs: Streams = None,
        mesh_axes: MeshAxes = (),
    ):
        self.rate = keep_rate(rate)
        self._keep_stream(deterministic, rng_collection, rngs, mesh_axes)
        self._keep_options(time_axis=time_axis)
