"""LayerDrop as an NNX module: a layer that is skipped at random."""

from collections.abc import Callable
from typing import Any

import jax
from flax import nnx

from jaxdrop._layer_call import call
from jaxdrop._layer_drop import check_output, decide
from jaxdrop.nnx._stream import Mode, Streams, draw, mode_of


class LayerDrop(Mode, nnx.Module):
    """Skip a layer at random while training, without computing it: ``jaxdrop.layer_drop``.

    ``y = layer(x)`` with probability ``1 - rate``, else ``x``, for the whole batch. The layer's
    state (batch statistics, streams of keys) changes only where it is run.

    Args:
      layer: module from an array to one like it, residual connection included.
      rate: probability of skipping the layer.
      deterministic: True for test time, when every layer runs; ``model.train()`` and
        ``model.eval()`` set it.
      rng_collection: name of the stream that keys are taken from.
      rngs: an Rngs or a RngStream to fork, or None to give one in each call.

    Reference:
      Fan et al., Reducing Transformer Depth on Demand with Structured Dropout, 2020.

    >>> import jax.numpy as jnp, jaxdrop.nnx
    >>> from flax import nnx
    >>> rngs = nnx.Rngs(0)
    >>> model = jaxdrop.nnx.LayerDrop(nnx.Linear(4, 4, rngs=rngs), 0.5, rngs=rngs)
    >>> model(jnp.ones((2, 4))).shape
    (2, 4)
    """

    def __init__(
        self,
        layer: Callable[..., Any],
        rate: Any,
        *,
        deterministic: bool | None = False,
        rng_collection: str = "dropout",
        rngs: Streams = None,
    ):
        self.layer = layer
        self.rate = rate
        self._keep_stream(deterministic, rng_collection, rngs)

    def __call__(self, inputs: Any, *, deterministic: Any = None, rngs: Any = None) -> jax.Array:
        """Run or skip the layer; ``rngs`` (a key, stream or Rngs) goes before its own stream."""

        def drop(key: Any, x: Any, rate: Any, deterministic: Any) -> jax.Array:
            x, run = decide(key, x, rate, deterministic)
            if isinstance(run, bool):
                return check_output(self.layer(x), x) if run else x
            return nnx.cond(
                run, lambda layer, h: check_output(layer(h), h), lambda layer, h: h, self.layer, x
            )

        mode = mode_of(self, deterministic)
        return call(drop, lambda: draw(self, rngs), inputs, self.rate, mode)
