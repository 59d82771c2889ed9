"""UnitDropoutMLP as an NNX module."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn.dtypes import promote_dtype

from jaxdrop._core.checks import check_count, check_sequence, check_switch
from jaxdrop._flax.call import call, check_features
from jaxdrop._functional.unit_dropout_mlp import unit_dropout_mlp
from jaxdrop.nnx._layer import BIAS_INIT, KERNEL_INIT, DropoutLayer
from jaxdrop.nnx._rate import keep_rate, read_rate
from jaxdrop.nnx._stream import check_rngs


class UnitDropoutMLP(DropoutLayer, nnx.Module):
    """Linear layers whose dropped hidden units are not computed: ``unit_dropout_mlp``.

    ``layers`` is an ``nnx.List`` of ``flax.nnx.Linear``, so that a checkpoint of such a list fits.

    Args:
      in_features: number of inputs.
      features: numbers of outputs of the layers, two or more; the last layer's are all there.
      rate: share of the hidden units to drop; a Python number, or one for each hidden layer.
      activation: of the hidden layers.
      block_size, contiguous, groups: as in ``jaxdrop.unit_dropout_mlp``.
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

    def __init__(
        self,
        in_features: int,
        features: Sequence[int],
        rate: Any,
        *,
        activation: Any = jax.nn.relu,
        block_size: int = 1,
        contiguous: bool = False,
        groups: int = 1,
        deterministic: bool | None = False,
        rng_collection: str = "dropout",
        use_bias: bool = True,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        kernel_init: Any = KERNEL_INIT,
        bias_init: Any = BIAS_INIT,
        rngs: nnx.Rngs,
    ):
        sizes = [check_count(in_features, "in_features", "the number of inputs")]
        outputs = check_sequence(features, "features", "the numbers of outputs, such as (64, 10)")
        for i, n in enumerate(outputs):
            sizes.append(check_count(n, f"features[{i}]", "the number of outputs"))
        check_rngs(rngs)
        check_switch(use_bias, "use_bias")
        self.layers = nnx.List(
            nnx.Linear(
                n, m, use_bias=use_bias, param_dtype=param_dtype,
                kernel_init=kernel_init, bias_init=bias_init, rngs=rngs,
            )
            for n, m in zip(sizes, sizes[1:], strict=False)
        )  # fmt: skip
        self.rate = keep_rate(rate)
        self.activation = activation
        self.block_size = block_size
        self.contiguous = contiguous
        self.groups = groups
        self.dtype = dtype
        self._keep_stream(deterministic, rng_collection, rngs)

    def __call__(self, inputs: Any, *, deterministic: Any = None, rngs: Any = None) -> jax.Array:
        """Apply the layers; ``rngs``, a key, stream or Rngs, takes the place of its own stream."""
        mode = self._mode(deterministic)
        inputs = check_features(inputs, self)
        leaves, structure = jax.tree.flatten((inputs, [_params(layer) for layer in self.layers]))
        promoted = promote_dtype(tuple(leaves), dtype=self.dtype)
        inputs, layers = jax.tree.unflatten(structure, promoted)
        return call(
            unit_dropout_mlp,
            lambda: self._key(rngs),
            inputs,
            read_rate(self.rate),
            mode,
            draws_at_one=True,
            layers=layers,
            activation=self.activation,
            block_size=self.block_size,
            contiguous=self.contiguous,
            groups=self.groups,
        )


def _params(layer: nnx.Linear) -> dict[str, jax.Array]:
    params = {"kernel": layer.kernel[...]}
    if layer.bias is not None:
        params["bias"] = layer.bias[...]
    return params
