"""Variational Gaussian dropout as a Linen module."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxdrop._core.annotations import MeshAxes
from jaxdrop._core.checks import check_input, check_switch
from jaxdrop._core.rate import start_logit
from jaxdrop._flax.call import known_mode, needs_key
from jaxdrop._functional.variational_dropout import variational_dropout
from jaxdrop.linen._layer import DropoutLayer


class VariationalDropout(DropoutLayer, nn.Module):
    """Multiply by Gaussian noise whose variance is learned: ``jaxdrop.variational_dropout``.

    ``y = x (1 + sqrt(alpha) e)``, e standard normal, alpha = min(exp(log_alpha), 1), the parameter
    is ``log_alpha``

    Add ``jaxdrop.variational.kl_divergence(params[...]["log_alpha"], "kingma")`` to the loss, times
    the number of weights that an entry stands for divided by the number of examples; without it
    alpha falls.

    Above log_alpha = 0 noise and divergence are clipped, so that no gradient leads back from there.
    Project after each step: ``params[...]["log_alpha"] = jnp.minimum(log_alpha, 0)``.

    Attributes:
      init_rate: the rate, above 0 and below 1, of the dropout whose variance the noise has at the
        start: ``log_alpha = log(init_rate / (1 - init_rate))``, and 0 from 0.5 on.
      shared: one log_alpha for all; False for one for each feature of the last axis.
      deterministic: True for test time; give it here or in the call.
      rng_collection: name of the collection that the key is taken from.
      mesh_axes: inside ``shard_map``, the mesh axes that split the inputs: see ``jaxdrop.dropout``.

    Reference:
      Kingma, Salimans & Welling, Variational Dropout and the Local Reparameterization Trick, 2015.

    >>> import jax, jax.numpy as jnp, jaxdrop.linen
    >>> layer, x = jaxdrop.linen.VariationalDropout(0.2, deterministic=False), jnp.ones((2, 4))
    >>> params = layer.init(jax.random.key(0), x)["params"]
    >>> y = layer.apply({"params": params}, x, rngs={"dropout": jax.random.key(1)})
    >>> nats = jaxdrop.variational.kl_divergence(params["log_alpha"], "kingma")
    >>> y.shape, nats.shape, round(float(jnp.exp(params["log_alpha"][0])), 2)
    ((2, 4), (), 0.25)
    """

    init_rate: float = 0.1
    _: dataclasses.KW_ONLY
    shared: bool = False
    deterministic: bool | None = None
    rng_collection: str = "dropout"
    mesh_axes: MeshAxes = ()

    @nn.compact
    def __call__(
        self, inputs: Any, deterministic: Any = None, rng: jax.Array | None = None
    ) -> jax.Array:
        """Apply the layer; ``rng`` takes the place of a key from ``make_rng``."""
        mode = known_mode(self._mode(deterministic))
        start = min(start_logit(self.init_rate), 0.0)
        inputs = check_input(inputs, "VariationalDropout", "inputs")
        shape = () if check_switch(self.shared, "shared") else inputs.shape[-1:]
        log_alpha = self.param("log_alpha", nn.initializers.constant(start), shape, jnp.float32)
        key = self._key(rng) if needs_key(mode) else None
        return variational_dropout(
            key, inputs, log_alpha, deterministic=mode, mesh_axes=self.mesh_axes
        )
