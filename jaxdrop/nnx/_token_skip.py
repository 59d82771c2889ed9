"""token_skip as an NNX module: tokens that go around a stack of layers."""

from collections.abc import Callable
from typing import Any

import jax
from flax import nnx

from jaxdrop._core.annotations import MeshAxes
from jaxdrop._core.checks import check_function
from jaxdrop._flax.around import over_tokens, with_mode
from jaxdrop._flax.call import call
from jaxdrop.nnx._layer import DropoutLayer
from jaxdrop.nnx._rate import keep_rate, read_rate
from jaxdrop.nnx._stream import Streams


class TokenSkip(DropoutLayer, nnx.Module):
    """Let a random share of each example's tokens skip a stack of layers: ``token_skip``.

    ``y[n, kept[n]] = layers(x[n, kept[n]], kept[n])``, the other tokens unchanged

    ``jaxdrop.token_skip`` states paper and invalid uses. ``deterministic`` and ``rngs`` are
    TokenSkip's own; layers that drop as well take their mode from ``model.train()`` and
    ``model.eval()``, or from ``layers_deterministic``.

    Args:
      layers: module, or function, of the tokens that go through and their positions.
      rate: share of the tokens after the prefix that skip the layers; a Python number.
      prefix: number of leading tokens that always go through.
      deterministic: True for test time, when all tokens go through; ``model.train()`` and
        ``model.eval()`` set it.
      rng_collection: name of the stream that keys are taken from.
      rngs: an Rngs or a RngStream to fork, or None to give one in each call.
      mesh_axes: inside ``shard_map``, the mesh axes that split the inputs: see ``jaxdrop.dropout``.

    >>> import jax.numpy as jnp, jaxdrop.nnx
    >>> from flax import nnx
    >>> def layers(x, positions):
    ...     return x + jnp.ones_like(x)
    >>> layer, x = jaxdrop.nnx.TokenSkip(layers, 0.5, rngs=nnx.Rngs(0)), jnp.zeros((2, 8, 3))
    >>> (layer(x) == x).all(axis=2).sum(axis=1).tolist()
    [4, 4]
    """

    def __init__(
        self,
        layers: Callable[..., Any],
        rate: Any,
        *,
        prefix: int = 0,
        deterministic: bool | None = False,
        rng_collection: str = "dropout",
        rngs: Streams = None,
        mesh_axes: MeshAxes = (),
    ):
        check_function(layers, "layers", "TokenSkip takes a module of tokens and positions")
        self.layers = layers
        self.rate = keep_rate(rate)
        self.prefix = prefix
        self._keep_stream(deterministic, rng_collection, rngs, mesh_axes)

    def __call__(
        self,
        inputs: Any,
        *,
        deterministic: Any = None,
        rngs: Any = None,
        layers_deterministic: Any = None,
        **kwargs: Any,
    ) -> jax.Array:
        """Run the layers on the tokens that go through.

        Args:
          inputs: the function's x.
          deterministic: the mode; overrides the constructor's.
          rngs: a key, RngStream or Rngs to use in place of the layer's own stream.
          layers_deterministic: what the layers are called with as their ``deterministic``; None for
            nothing.
          kwargs: passed to the layers as they are.

        Returns:
          What the function returns.
        """
        return call(
            over_tokens(self.layers, **with_mode(kwargs, layers_deterministic)),
            lambda: self._key(rngs),
            inputs,
            read_rate(self.rate),
            self._mode(deterministic),
            draws_at_one=True,
            prefix=self.prefix,
            mesh_axes=self.mesh_axes,
        )
