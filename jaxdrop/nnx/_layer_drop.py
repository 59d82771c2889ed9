"""LayerDrop as an NNX module: a layer that is skipped at random."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jaxdrop._core.checks import check_function
from jaxdrop._core.varying import as_varying_as, varies_over
from jaxdrop._flax.around import with_mode
from jaxdrop._flax.call import call
from jaxdrop._functional.layer_drop import check_output, decide
from jaxdrop.nnx._layer import DropoutLayer
from jaxdrop.nnx._rate import keep_rate, read_rate
from jaxdrop.nnx._stream import Streams


class LayerDrop(DropoutLayer, nnx.Module):
    """Skip a layer at random while training, without computing it: ``jaxdrop.layer_drop``.

    ``y = layer(x, ...)`` with probability ``1 - rate``, else ``x``, for the whole batch. The
    layer's state (batch statistics, streams of keys) changes only when it runs.

    Further arguments of a call are passed to the layer. ``deterministic`` and ``rngs`` are
    LayerDrop's own: they say whether layers are skipped. A layer that drops as well takes its mode
    from ``model.train()`` and ``model.eval()``, or from ``layer_deterministic``.

    Args:
      layer: module from an array to one like it, residual connection included.
      rate: probability of skipping the layer.
      deterministic: True for test time, when every layer runs; ``model.train()`` and
        ``model.eval()`` set it.
      rng_collection: name of the stream that keys are taken from.
      rngs: an Rngs or a RngStream to fork, or None to give one in each call.

    Reference:
      Fan et al., Reducing Transformer Depth on Demand with Structured Dropout, 2020.

    >>> import jax, jax.numpy as jnp, jaxdrop.nnx
    >>> from flax import nnx
    >>> rngs, x = nnx.Rngs(0), jnp.ones((2, 3, 4))
    >>> attention = nnx.MultiHeadAttention(2, 4, decode=False, rngs=rngs)
    >>> model = jaxdrop.nnx.LayerDrop(attention, 0.5, rngs=rngs)
    >>> mask = jnp.ones((2, 1, 3, 3), bool)
    >>> def is_skipped(seed):
    ...     return bool((model(x, mask=mask, rngs=jax.random.key(seed)) == x).all())
    >>> [is_skipped(seed) for seed in range(4)]
    [False, True, False, False]
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
        check_function(layer, "layer", "LayerDrop takes a module from an array to one like it")
        self.layer = layer
        self.rate = keep_rate(rate)
        self._keep_stream(deterministic, rng_collection, rngs)

    def __call__(
        self,
        inputs: Any,
        *args: Any,
        deterministic: Any = None,
        rngs: Any = None,
        layer_deterministic: Any = None,
        **kwargs: Any,
    ) -> jax.Array:
        """Run or skip the layer.

        Args:
          inputs: the layer's first argument, returned in place of its output if it is skipped.
          args, kwargs: the layer's other arguments.
          deterministic: LayerDrop's mode; overrides the constructor's.
          rngs: a key, RngStream or Rngs to use in place of the layer's own stream.
          layer_deterministic: what the layer is called with as its ``deterministic``; None for
            nothing.
        """
        kwargs = with_mode(kwargs, layer_deterministic)
        # Variables and streams have to be arguments of the conditional; a flag must not be one,
        # since it would come out traced.
        leaves, tree = jax.tree.flatten((args, kwargs), is_leaf=nnx.is_data)
        moving = {i: leaf for i, leaf in enumerate(leaves) if nnx.is_data(leaf)}

        def run_layer(layer: Any, x: jax.Array, moved: dict[int, Any]) -> jax.Array:
            given = [moved.get(i, leaf) for i, leaf in enumerate(leaves)]
            more, named = jax.tree.unflatten(tree, given)
            return as_varying_as(check_output(layer(x, *more, **named), x), x)

        def drop(key: Any, x: Any, rate: Any, deterministic: Any) -> jax.Array:
            x, run = decide(key, x, rate, deterministic)
            if isinstance(run, bool):
                return run_layer(self.layer, x, moving) if run else x
            if varies_over(run):  # shards that decide on their own cannot sum inside a branch
                return jnp.where(run, run_layer(self.layer, x, moving), x)
            x = as_varying_as(x, (nnx.as_pure(nnx.state((self.layer, moving))), leaves))
            return nnx.cond(run, run_layer, _skip, self.layer, x, moving)

        mode = self._mode(deterministic)
        return call(drop, lambda: self._key(rngs), inputs, read_rate(self.rate), mode)


def _skip(layer: Any, x: jax.Array, moved: dict[int, Any]) -> jax.Array:
    return x
