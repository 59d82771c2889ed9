"""UnitDropoutMLP as an NNX module."""

from typing import Any

from flax import nnx

from jaxdrop._functional.unit_dropout_mlp import unit_dropout_mlp
from jaxdrop.nnx._unit_chain import UnitChain


class UnitDropoutMLP(UnitChain):
    """Linear layers whose dropped hidden units are not computed: ``unit_dropout_mlp``.

    ``layers`` is an ``nnx.List`` of ``flax.nnx.Linear``, so that a checkpoint of such a list fits.

    Args:
      in_features: number of inputs.
      features: numbers of outputs of the layers, two or more; the last layer's are all there.
      rate: share of the hidden units to drop; a Python number, or one for each hidden layer.
      activation: of the hidden layers.
      block_size, contiguous, groups, mesh_axes: as in ``jaxdrop.unit_dropout_mlp``.
      deterministic: True for test time; ``model.train()`` and ``model.eval()`` set it.
      rng_collection: name of the stream that keys are taken from.
      use_bias, dtype, param_dtype, kernel_init, bias_init: as in ``flax.nnx.Linear``.
      rngs: for the parameters, and forked for the choices.

    >>> import jax.numpy as jnp, jaxdrop.nnx
    >>> from flax import nnx
    >>> mlp = jaxdrop.nnx.UnitDropoutMLP(4, (8, 3), 0.5, rngs=nnx.Rngs(0))
    >>> mlp(jnp.ones((2, 4))).shape, mlp.layers[1].kernel.shape
    ((2, 3), (8, 3))
    """

    _function = staticmethod(unit_dropout_mlp)

    def _layer(self, inputs: int, outputs: int, **options: Any) -> nnx.Linear:
        return nnx.Linear(inputs, outputs, **options)
