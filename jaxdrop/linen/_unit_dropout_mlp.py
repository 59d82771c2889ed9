"""UnitDropoutMLP as a Linen module."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.linen.dtypes import promote_dtype

from jaxdrop._core.checks import check_count, check_sequence, check_switch
from jaxdrop._flax.call import call, check_features
from jaxdrop._functional.unit_dropout_mlp import unit_dropout_mlp
from jaxdrop.linen._layer import DropoutLayer


class UnitDropoutMLP(DropoutLayer, nn.Module):
    """Dense layers whose dropped hidden units are not computed: ``unit_dropout_mlp``.

    Its parameters are those of ``flax.linen.Dense`` layers in a compact module: ``Dense_0``,
    ``Dense_1`` and so on, with the same first values, so that a checkpoint of either fits both.

    Attributes:
      features: numbers of outputs of the layers, two or more; the last layer's are all there.
      rate: share of the hidden units to drop; a Python number, or one for each hidden layer.
      activation: of the hidden layers.
      block_size, contiguous, groups: as in ``jaxdrop.unit_dropout_mlp``.
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
    activation: Any = nn.relu
    block_size: int = 1
    contiguous: bool = False
    groups: int = 1
    deterministic: bool | None = None
    rng_collection: str = "dropout"
    use_bias: bool = True
    dtype: Any = None
    param_dtype: Any = jnp.float32
    kernel_init: Any = nn.initializers.lecun_normal()
    bias_init: Any = nn.initializers.zeros_init()

    @nn.compact
    def __call__(
        self, inputs: Any, deterministic: Any = None, rng: jax.Array | None = None
    ) -> jax.Array:
        """Apply the layers; ``rng`` takes the place of a key from ``make_rng``."""
        mode = self._mode(deterministic)
        inputs = check_features(inputs, self)
        sizes = check_sequence(
            self.features, "features", "the numbers of outputs, such as (64, 10)"
        )
        use_bias = check_switch(self.use_bias, "use_bias")
        layers, before = [], inputs.shape[-1]
        for i, given in enumerate(sizes):
            size = check_count(given, f"features[{i}]", "the number of outputs")
            made = _Dense(
                (before, size), self.param_dtype, self.kernel_init,
                self.bias_init if use_bias else None, name=f"Dense_{i}",
            )  # fmt: skip
            layers.append(made())
            before = size
        inputs, layers = _promoted(inputs, layers, self.dtype)
        return call(
            unit_dropout_mlp,
            lambda: self._key(rng),
            inputs,
            self.rate,
            mode,
            draws_at_one=True,
            layers=layers,
            activation=self.activation,
            block_size=self.block_size,
            contiguous=self.contiguous,
            groups=self.groups,
        )


class _Dense(nn.Module):
    """The parameters of ``flax.linen.Dense``, under its names, without its product."""

    shape: tuple[int, int]
    param_dtype: Any
    kernel_init: Any
    bias_init: Any

    @nn.compact
    def __call__(self) -> dict[str, jax.Array]:
        layer = {"kernel": self.param("kernel", self.kernel_init, self.shape, self.param_dtype)}
        if self.bias_init is not None:
            layer["bias"] = self.param("bias", self.bias_init, self.shape[1:], self.param_dtype)
        return layer


def _promoted(inputs: jax.Array, layers: list[dict[str, jax.Array]], dtype: Any) -> Any:
    """Bring inputs and parameters to one dtype, as ``flax.linen.Dense`` does."""
    leaves, structure = jax.tree.flatten((inputs, layers))
    return jax.tree.unflatten(structure, promote_dtype(*leaves, dtype=dtype))
