"""token_skip as a Linen module: tokens that go around a stack of layers."""

import dataclasses
from typing import Any

import jax
from flax import linen as nn

from jaxdrop._core.annotations import MeshAxes
from jaxdrop._core.checks import check_function
from jaxdrop._flax.around import over_tokens, with_mode
from jaxdrop._flax.call import call
from jaxdrop.linen._layer import DropoutLayer


class TokenSkip(DropoutLayer, nn.Module):
    """Let a random share of each example's tokens skip a stack of layers: ``token_skip``.

    ``y[n, kept[n]] = layers(x[n, kept[n]], kept[n])``, the other tokens unchanged

    ``jaxdrop.token_skip`` states paper and invalid uses. ``deterministic`` and ``rng`` are
    TokenSkip's own; layers that drop as well take their mode from their own constructors, or from
    ``layers_deterministic``.

    Attributes:
      layers: module of the tokens that go through and their positions.
      rate: share of the tokens after the prefix that skip the layers; a Python number.
      prefix: number of leading tokens that always go through.
      deterministic: True for test time, when all tokens go through; give it here or in the call.
      rng_collection: name of the collection that the key is taken from.
      mesh_axes: inside ``shard_map``, the mesh axes that split the inputs: see ``jaxdrop.dropout``.

    >>> import flax.linen as nn, jax, jax.numpy as jnp, jaxdrop.linen
    >>> class Layers(nn.Module):
    ...     @nn.compact
    ...     def __call__(self, x, positions):
    ...         return x + nn.Embed(8, 3)(positions)
    >>> model, x = jaxdrop.linen.TokenSkip(Layers(), 0.5), jnp.ones((2, 8, 3))
    >>> variables = model.init(jax.random.key(0), x, deterministic=True)
    >>> y = model.apply(variables, x, deterministic=False, rngs={"dropout": jax.random.key(0)})
    >>> (y == x).all(axis=2).sum(axis=1).tolist()
    [4, 4]
    """

    layers: nn.Module
    rate: Any
    _: dataclasses.KW_ONLY
    prefix: int = 0
    deterministic: bool | None = None
    rng_collection: str = "dropout"
    mesh_axes: MeshAxes = ()

    @nn.compact
    def __call__(
        self,
        inputs: Any,
        *,
        deterministic: Any = None,
        rng: jax.Array | None = None,
        layers_deterministic: Any = None,
        **kwargs: Any,
    ) -> jax.Array:
        """Run the layers on the tokens that go through.

        Args:
          inputs: the function's x.
          deterministic: the mode; give it here or to the constructor, not to both.
          rng: a key to use in place of one from ``make_rng``.
          layers_deterministic: what the layers are called with as their ``deterministic``; None for
            nothing.
          kwargs: passed to the layers as they are.

        Returns:
          What the function returns.
        """
        mode = self._mode(deterministic)
        check_function(self.layers, "layers", "TokenSkip takes a module of tokens and positions")
        return call(
            over_tokens(self.layers, **with_mode(kwargs, layers_deterministic)),
            lambda: self._key(rng),
            inputs,
            self.rate,
            mode,
            draws_at_one=True,
            prefix=self.prefix,
            mesh_axes=self.mesh_axes,
        )
