"""Concrete dropout as an NNX module."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jaxdrop._core.annotations import MeshAxes
from jaxdrop._core.checks import check_sequence
from jaxdrop._core.rate import start_logit
from jaxdrop._flax.call import call
from jaxdrop._functional.concrete_dropout import concrete_dropout
from jaxdrop.nnx._layer import DropoutLayer


class ConcreteDropout(DropoutLayer, nnx.Module):
    """Dropout whose rate is the parameter ``logit``, through a sigmoid: ``concrete_dropout``.

    ``y = x (1 - z) / (1 - rate)``, ``z = sigmoid((logit + log(u / (1 - u))) / temperature)``, u
    uniform on (0, 1)

    Add ``concrete_regularizer(layer.rate, kernel, ...)`` to the loss, with the kernel of the layer
    that comes next; without it the rate falls to 0.

    Args:
      init_rate: the rate at the start, above 0 and below 1.
      temperature: how smooth the mask is.
      broadcast_dims: dimensions along which one decision is shared.
      deterministic: True for test time; ``model.train()`` and ``model.eval()`` set it.
      rng_collection: name of the stream that keys are taken from.
      rngs: an Rngs or a RngStream to fork, or None to give one in each call.
      mesh_axes: inside ``shard_map``, the mesh axes that split the inputs: see ``jaxdrop.dropout``.

    Reference:
      Gal, Hron & Kendall, Concrete Dropout, 2017.

    >>> import jax.numpy as jnp, jaxdrop.nnx
    >>> from flax import nnx
    >>> layer = jaxdrop.nnx.ConcreteDropout(rngs=nnx.Rngs(0))
    >>> layer(jnp.ones((2, 4))).shape, round(float(layer.rate), 3)
    ((2, 4), 0.1)
    """

    def __init__(
        self,
        init_rate: float = 0.1,
        *,
        temperature: float = 0.1,
        broadcast_dims: Sequence[int] = (),
        deterministic: bool | None = False,
        rng_collection: str = "dropout",
        rngs: nnx.Rngs | nnx.RngStream | None = None,
        mesh_axes: MeshAxes = (),
    ):
        start = start_logit(init_rate)
        self.logit = nnx.Param(jnp.asarray(start, jnp.float32))
        self.temperature = temperature
        self.broadcast_dims = check_sequence(broadcast_dims, "broadcast_dims", "a sequence")
        self._keep_stream(deterministic, rng_collection, rngs, mesh_axes)

    @property
    def rate(self) -> jax.Array:
        return jax.nn.sigmoid(self.logit[...])

    def __call__(self, inputs: Any, *, deterministic: Any = None, rngs: Any = None) -> jax.Array:
        """Apply the layer; ``rngs``, a key, stream or Rngs, takes the place of its own stream."""
        mode = self._mode(deterministic)
        return call(
            concrete_dropout,
            lambda: self._key(rngs),
            inputs,
            self.rate,
            mode,
            temperature=self.temperature,
            broadcast_dims=self.broadcast_dims,
            mesh_axes=self.mesh_axes,
        )
