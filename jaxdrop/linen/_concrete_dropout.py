"""Concrete dropout as a Linen module."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxdrop._core.annotations import MeshAxes
from jaxdrop._core.rate import start_logit
from jaxdrop._flax.call import call
from jaxdrop._functional.concrete_dropout import concrete_dropout
from jaxdrop.linen._layer import DropoutLayer


class ConcreteDropout(DropoutLayer, nn.Module):
    """Dropout whose rate is the parameter ``logit``, through a sigmoid: ``concrete_dropout``.

    ``y = x (1 - z) / (1 - rate)``, ``z = sigmoid((logit + log(u / (1 - u))) / temperature)``, u
    uniform on (0, 1)

    Add ``concrete_regularizer(jax.nn.sigmoid(params[...]["logit"]), kernel, ...)`` to the loss,
    with the kernel of the layer that comes next; without it the rate falls to 0.

    Attributes:
      init_rate: the rate at the start, above 0 and below 1.
      temperature: how smooth the mask is.
      broadcast_dims: dimensions along which one decision is shared.
      deterministic: True for test time; give it here or in the call.
      rng_collection: name of the collection that the key is taken from.
      mesh_axes: inside ``shard_map``, the mesh axes that split the inputs: see ``jaxdrop.dropout``.

    Reference:
      Gal, Hron & Kendall, Concrete Dropout, 2017.

    >>> import jax, jax.numpy as jnp, jaxdrop.linen
    >>> layer, x = jaxdrop.linen.ConcreteDropout(deterministic=False), jnp.ones((2, 4))
    >>> variables = layer.init(jax.random.key(0), x)
    >>> round(float(jax.nn.sigmoid(variables["params"]["logit"])), 3)
    0.1
    """

    init_rate: float = 0.1
    _: dataclasses.KW_ONLY
    temperature: float = 0.1
    broadcast_dims: Sequence[int] = ()
    deterministic: bool | None = None
    rng_collection: str = "dropout"
    mesh_axes: MeshAxes = ()

    @nn.compact
    def __call__(
        self, inputs: Any, deterministic: Any = None, rng: jax.Array | None = None
    ) -> jax.Array:
        """Apply the layer; ``rng`` takes the place of a key from ``make_rng``."""
        mode = self._mode(deterministic)
        start = start_logit(self.init_rate)
        logit = self.param("logit", nn.initializers.constant(start), (), jnp.float32)
        return call(
            concrete_dropout,
            lambda: self._key(rng),
            inputs,
            jax.nn.sigmoid(logit),
            mode,
            temperature=self.temperature,
            broadcast_dims=self.broadcast_dims,
            mesh_axes=self.mesh_axes,
        )
