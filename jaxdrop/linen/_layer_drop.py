"""LayerDrop as a Linen module: a submodule that is skipped at random."""

from typing import Any

import jax
from flax import linen as nn

from jaxdrop._layer_call import call
from jaxdrop._layer_drop import check_output, decide


class LayerDrop(nn.Module):
    """Skip a layer at random while training, without computing it: ``jaxdrop.layer_drop``.

    ``y = layer(x)`` with probability ``1 - rate``, else ``x``, for the whole batch. What the layer
    keeps in other collections (batch statistics) changes only where it is run.

    Attributes:
      layer: module from an array to one like it, residual connection included.
      rate: probability of skipping the layer.
      deterministic: True for test time, when every layer runs; give it here or in the call.
      rng_collection: name of the collection that the key is taken from.

    Reference:
      Fan et al., Reducing Transformer Depth on Demand with Structured Dropout, 2020.

    >>> import flax.linen as nn, jax, jax.numpy as jnp, jaxdrop.linen
    >>> model, x = jaxdrop.linen.LayerDrop(nn.Dense(4), 0.5, deterministic=False), jnp.ones((2, 4))
    >>> variables = model.init(jax.random.key(0), x)
    >>> model.apply(variables, x, rngs={"dropout": jax.random.key(1)}).shape
    (2, 4)
    """

    layer: nn.Module
    rate: Any
    deterministic: bool | None = None
    rng_collection: str = "dropout"

    @nn.compact
    def __call__(
        self, inputs: Any, deterministic: Any = None, rng: jax.Array | None = None
    ) -> jax.Array:
        """Run or skip the layer; ``rng`` takes the place of a key from ``make_rng``."""
        mode = nn.merge_param("deterministic", self.deterministic, deterministic)

        def drop(key: Any, x: Any, rate: Any, deterministic: Any) -> jax.Array:
            x, run = decide(key, x, rate, deterministic)
            # Parameters are made by the layer, so that it runs when they are not there yet.
            if run is True or self.is_initializing():
                return check_output(self.layer(x), x)
            if run is False:
                return x
            return nn.cond(run, lambda m, h: check_output(m.layer(h), h), lambda m, h: h, self, x)

        def draw_key() -> jax.Array:
            return self.make_rng(self.rng_collection) if rng is None else rng

        return call(drop, draw_key, inputs, self.rate, mode)
