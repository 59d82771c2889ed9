"""LayerDrop as a Linen module: a submodule that is skipped at random."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxdrop._core.checks import check_function
from jaxdrop._core.varying import as_varying_as, varies_over
from jaxdrop._flax.around import with_mode
from jaxdrop._flax.call import call
from jaxdrop._functional.layer_drop import check_output, decide
from jaxdrop.linen._layer import DropoutLayer


class LayerDrop(DropoutLayer, nn.Module):
    """Skip a layer at random while training, without computing it: ``jaxdrop.layer_drop``.

    ``y = layer(x, ...)`` with probability ``1 - rate``, else ``x``, for the whole batch. What the
    layer keeps in other collections (batch statistics) changes only when it runs. It cannot
    ``sow`` into a mutable collection while training: a skipped layer would leave nothing there, and
    a compiled program has one structure.

    Further arguments of a call are passed to the layer. ``deterministic`` and ``rng`` are
    LayerDrop's own: they say whether layers are skipped. A layer that drops as well takes its mode
    from its own constructor, or from ``layer_deterministic``.

    Attributes:
      layer: module from an array to one like it, residual connection included.
      rate: probability of skipping the layer.
      deterministic: True for test time, when every layer runs; give it here or in the call.
      rng_collection: name of the collection that the key is taken from.

    Reference:
      Fan et al., Reducing Transformer Depth on Demand with Structured Dropout, 2020.

    >>> import flax.linen as nn, jax, jax.numpy as jnp, jaxdrop.linen
    >>> attention, x = nn.MultiHeadDotProductAttention(2), jnp.ones((2, 3, 4))
    >>> model, mask = jaxdrop.linen.LayerDrop(attention, 0.5), jnp.ones((2, 1, 3, 3), bool)
    >>> variables = model.init(jax.random.key(0), x, mask=mask, deterministic=True)
    >>> def is_skipped(seed):
    ...     key = jax.random.key(seed)
    ...     y = model.apply(variables, x, mask=mask, deterministic=False, rng=key)
    ...     return bool((y == x).all())
    >>> [is_skipped(seed) for seed in range(4)]
    [False, True, False, False]
    """

    layer: nn.Module
    rate: Any
    _: dataclasses.KW_ONLY
    deterministic: bool | None = None
    rng_collection: str = "dropout"

    @nn.compact
    def __call__(
        self,
        inputs: Any,
        *args: Any,
        deterministic: Any = None,
        rng: jax.Array | None = None,
        layer_deterministic: Any = None,
        **kwargs: Any,
    ) -> jax.Array:
        """Run or skip the layer.

        Args:
          inputs: the layer's first argument, returned in place of its output if it is skipped.
          args, kwargs: the layer's other arguments.
          deterministic: LayerDrop's mode; give it here or to the constructor, not to both.
          rng: a key to use in place of one from ``make_rng``.
          layer_deterministic: what the layer is called with as its ``deterministic``; None for
            nothing.
        """
        mode = self._mode(deterministic)
        check_function(self.layer, "layer", "LayerDrop takes a module from an array to one like it")
        kwargs = with_mode(kwargs, layer_deterministic)

        def run_layer(module: Any, x: jax.Array) -> jax.Array:
            return as_varying_as(check_output(module.layer(x, *args, **kwargs), x), x)

        def drop(key: Any, x: Any, rate: Any, deterministic: Any) -> jax.Array:
            x, run = decide(key, x, rate, deterministic)
            # The layer makes its parameters, so it has to run when they are not there yet.
            if run is True or self.is_initializing():
                return run_layer(self, x)
            if run is False:
                return x
            if varies_over(run):  # shards that decide on their own cannot sum inside a branch
                return jnp.where(run, run_layer(self, x), x)
            scope: Any = self.scope
            x = as_varying_as(x, (self.layer.variables, scope.rngs, args, kwargs))
            return nn.cond(run, run_layer, lambda module, x: x, self, x)

        return call(drop, lambda: self._key(rng), inputs, self.rate, mode)
