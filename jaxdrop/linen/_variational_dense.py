"""VariationalDense as a Flax Linen module."""

import dataclasses
from typing import Any

import jax
from flax import linen as nn

from jaxdrop._core.checks import check_count
from jaxdrop._flax.call import check_features
from jaxdrop._functional.variational_dense import variational_dense
from jaxdrop.linen._variational import VariationalLayer


class VariationalDense(VariationalLayer):
    """A dense layer of Gaussian weights that learns which ones are noise: ``variational_dense``.

    ``y = x @ m + sqrt(x**2 @ exp(log_sigma2)) e + bias``; the parameters are ``kernel`` (m),
    ``log_sigma2`` and ``bias``. Add ``jaxdrop.variational.loss(params)`` to the loss;
    ``jaxdrop.variational.sparsity(params)`` tells how many weights test time leaves out.

    Attributes:
      features: number of outputs.
      deterministic: True for test time; give it here or in the call.
      threshold: of log alpha, from which a weight is pruned at test time.
      init_log_sigma2: where ``log_sigma2`` starts.
      rng_collection: name of the collection that the key is taken from.
      use_bias, dtype, param_dtype, kernel_init, bias_init: as in ``flax.linen.Dense``.
      mesh_axes: inside ``shard_map``, mesh axes as in ``jaxdrop.variational_dense``.

    Reference:
      Molchanov, Ashukha & Vetrov, Variational Dropout Sparsifies Deep Neural Networks, 2017.

    >>> import flax.linen as nn, jax, jax.numpy as jnp, jaxdrop.linen
    >>> layer, x = jaxdrop.linen.VariationalDense(3), jnp.ones((2, 4))
    >>> params = layer.init(jax.random.key(0), x, True)["params"]
    >>> y = layer.apply({"params": params}, x, False, jax.random.key(1))
    >>> mean = nn.Dense(3).apply({"params": {k: params[k] for k in ("kernel", "bias")}}, x)
    >>> bool((y == mean).any()), bool(jnp.allclose(y, mean, atol=0.2))  # log_sigma2 starts at -10
    (False, True)
    """

    features: int
    _: dataclasses.KW_ONLY  # flax's parent and name come after it

    @nn.compact
    def __call__(
        self, inputs: Any, deterministic: Any = None, rng: jax.Array | None = None
    ) -> jax.Array:
        """Apply the layer; ``rng`` takes the place of a key from ``make_rng``."""
        inputs = check_features(inputs, self)
        shape = (inputs.shape[-1], check_count(self.features, "features", "the number of outputs"))
        return self._apply(variational_dense, shape, inputs, deterministic, rng)
