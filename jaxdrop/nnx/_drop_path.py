"""DropPath as a Flax NNX module."""

from typing import Any

from jaxdrop._functional.drop_path import drop_path
from jaxdrop.nnx._member import Member, Streams, held


class DropPath(Member):
    """Drop a residual branch for some examples: stochastic depth.

    Calls ``jaxdrop.drop_path``, which states formula, moments, paper and invalid uses.

    Args:
      rate, deterministic, rng_collection, rngs: as in ``jaxdrop.nnx.Dropout``.
      batch_axis: the dimension of the examples; None for one decision for all.

    >>> import jax.numpy as jnp, jaxdrop.nnx
    >>> from flax import nnx
    >>> layer = jaxdrop.nnx.DropPath(0.5, rngs=nnx.Rngs(0))
    >>> y = layer(jnp.ones((2, 9, 3)))
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
    ):
        self.rate = held(rate)
        self._keep_stream(deterministic, rng_collection, rngs)
        self._hand_on(batch_axis=batch_axis)
