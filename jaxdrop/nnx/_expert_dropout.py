"""ExpertDropout as a Flax NNX module."""

from typing import Any

from jaxdrop._core.annotations import MeshAxes
from jaxdrop._functional.expert_dropout import expert_dropout
from jaxdrop.nnx._layer import RatedLayer
from jaxdrop.nnx._rate import keep_rate
from jaxdrop.nnx._stream import Streams


class ExpertDropout(RatedLayer):
    """Drop whole experts of a mixture, and share out their gates among the others.

    ``y[i] = gates[i] m[i] sum(gates) / sum(gates m)``

    ``jaxdrop.expert_dropout`` states law, paper and invalid uses.

    Args:
      rate, deterministic, rng_collection, rngs, mesh_axes: as in ``jaxdrop.nnx.Dropout``.
      per_example: True decides anew for each row of gates, False once for all of them.

    >>> import jax, jax.numpy as jnp, jaxdrop.nnx
    >>> layer = jaxdrop.nnx.ExpertDropout(0.5)
    >>> layer(jnp.full((2, 4), 0.25), rngs=jax.random.key(1)).tolist()
    [[0.0, 0.5, 0.0, 0.5], [0.0, 0.5, 0.0, 0.5]]
    """

    _function = staticmethod(expert_dropout)
    _draws_at_one = True

    def __init__(
        self,
        rate: Any,
        *,
        per_example: bool = False,
        deterministic: bool | None = False,
        rng_collection: str = "dropout",
        rngs: Streams = None,
        mesh_axes: MeshAxes = (),
    ):
        self.rate = keep_rate(rate)
        self._keep_stream(deterministic, rng_collection, rngs, mesh_axes)
        self._keep_options(per_example=per_example)
