"""UnitDropoutMLP as a Linen module."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
from flax import linen as nn

from jaxdrop._functional.unit_dropout_mlp import unit_dropout_mlp
from jaxdrop.linen._unit_chain import UnitChain


class UnitDropoutMLP(UnitChain):
    """Dense layers whose dropped hidden units are not computed: ``unit_dropout_mlp``.

    Its parameters are those of ``flax.linen.Dense`` layers in a compact module: ``Dense_0``,
    ``Dense_1`` and so on, with the same first values, so that a checkpoint of either fits both.

    Attributes:
      features: numbers of outputs of the layers, two or more; the last layer's are all there.
      rate: share of the hidden units to drop; a Python number, or one for each hidden layer.
      activation: of the hidden layers.
      block_size, contiguous, groups, mesh_axes: as in ``jaxdrop.unit_dropout_mlp``.
      deterministic: True for test time; give it here or in the call.
      rng_collection: name of the collection that the key is taken from.
      use_bias, dtype, param_dtype, kernel_init, bias_init: as in ``flax.linen.Dense``.

    The units that a call used follow from its key: pass one as ``rng`` to know it, as
    ``jaxdrop.unit_dropout_mlp_kept`` wants it.

    >>> import jax, jax.numpy as jnp, jaxdrop.linen
    >>> mlp = jaxdrop.linen.UnitDropoutMLP((8, 3), 0.5, deterministic=False)
    >>> y, variables = mlp.init_with_output(jax.random.key(0), jnp.ones((2, 4)))
    >>> y.shape, sorted(variables["params"]), variables["params"]["Dense_1"]["kernel"].shape
    ((2, 3), ['Dense_0', 'Dense_1'], (8, 3))
    """

    features: Sequence[int]
    rate: Any
    _: dataclasses.KW_ONLY

    @nn.compact
    def __call__(
        self, inputs: Any, deterministic: Any = None, rng: jax.Array | None = None
    ) -> jax.Array:
        """Apply the layers; ``rng`` takes the place of a key from ``make_rng``."""
        return self._apply(
            unit_dropout_mlp, "Dense", (), self.features, inputs, self.rate, deterministic, rng
        )
