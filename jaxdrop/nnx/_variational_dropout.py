"""Variational Gaussian dropout as an NNX module."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jaxdrop._core.annotations import MeshAxes
from jaxdrop._core.checks import check_count
from jaxdrop._core.rate import start_logit
from jaxdrop._flax.call import known_mode, needs_key
from jaxdrop._functional.variational_dropout import variational_dropout
from jaxdrop.nnx._layer import DropoutLayer
from jaxdrop.nnx._stream import Streams


class VariationalDropout(DropoutLayer, nnx.Module):
    """Multiply by Gaussian noise whose variance is learned: ``jaxdrop.variational_dropout``.

    ``y = x (1 + sqrt(alpha) e)``, e standard normal, alpha = min(exp(log_alpha), 1), the parameter
    is ``log_alpha``

    Add ``jaxdrop.variational.kl_divergence(layer.log_alpha[...], "kingma")`` to the loss, times the
    number of weights that an entry stands for divided by the number of examples; without it alpha
    falls.

    Above log_alpha = 0 noise and divergence are clipped, so that no gradient leads back from there.
    Project after each step: ``layer.log_alpha[...] = jnp.minimum(layer.log_alpha[...], 0)``.

    Args:
      features: size of the last axis, each of which has its log_alpha; None for one for all.
      init_rate: the rate, above 0 and below 1, of the dropout whose variance the noise has at the
        start: ``log_alpha = log(init_rate / (1 - init_rate))``, and 0 from 0.5 on.
      deterministic: True for test time; ``model.train()`` and ``model.eval()`` set it.
      rng_collection: name of the stream that keys are taken from.
      rngs: an Rngs or a RngStream to fork, or None to give one in each call.
      mesh_axes: inside ``shard_map``, the mesh axes that split the inputs: see ``jaxdrop.dropout``.

    Reference:
      Kingma, Salimans & Welling, Variational Dropout and the Local Reparameterization Trick, 2015.

    >>> import jax.numpy as jnp, jaxdrop.nnx
    >>> from flax import nnx
    >>> layer = jaxdrop.nnx.VariationalDropout(4, 0.2, rngs=nnx.Rngs(0))
    >>> nats = jaxdrop.variational.kl_divergence(layer.log_alpha[...], "kingma")
    >>> layer(jnp.ones((2, 4))).shape, nats.shape, round(float(jnp.exp(layer.log_alpha[0])), 2)
    ((2, 4), (), 0.25)
    """

    def __init__(
        self,
        features: int | None,
        init_rate: float = 0.1,
        *,
        deterministic: bool | None = False,
        rng_collection: str = "dropout",
        rngs: Streams = None,
        mesh_axes: MeshAxes = (),
    ):
        start = min(start_logit(init_rate), 0.0)
        expected = "the size of the last axis, or None; init_rate comes after it"
        shape = () if features is None else (check_count(features, "features", expected),)
        self.log_alpha = nnx.Param(jnp.full(shape, start, jnp.float32))
        self._keep_stream(deterministic, rng_collection, rngs, mesh_axes)

    def __call__(self, inputs: Any, *, deterministic: Any = None, rngs: Any = None) -> jax.Array:
        """Apply the layer; ``rngs``, a key, stream or Rngs, takes the place of its own stream."""
        mode = known_mode(self._mode(deterministic))
        key = self._key(rngs) if needs_key(mode) else None
        return variational_dropout(
            key, inputs, self.log_alpha[...], deterministic=mode, mesh_axes=self.mesh_axes
        )
