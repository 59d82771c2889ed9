"""What the Linen layers of unit_dropout_mlp and unit_dropout_conv share: parameters and call."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.linen.dtypes import promote_dtype

from jaxdrop._core.annotations import MeshAxes
from jaxdrop._core.checks import check_switch
from jaxdrop._flax.call import check_features
from jaxdrop._flax.unit_chain import call_chain, check_sizes
from jaxdrop.linen._layer import DropoutLayer


class UnitChain(DropoutLayer, nn.Module, kw_only=True):
    """A chain of linear layers whose dropped hidden units are not computed."""

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
    mesh_axes: MeshAxes = ()

    @nn.nowrap
    def _apply(
        self,
        function: Callable[..., jax.Array],
        name: str,
        window: tuple[int, ...],
        features: Sequence[int],
        inputs: Any,
        rate: Any,
        deterministic: Any,
        rng: Any,
        **options: Any,
    ) -> jax.Array:
        """Make the parameters, of layers called ``name``, and call the function with them."""
        mode = self._mode(deterministic)
        inputs = check_features(inputs, self)
        use_bias = check_switch(self.use_bias, "use_bias")
        layers, before = [], inputs.shape[-1]
        for i, size in enumerate(check_sizes(features)):
            made = _Params(
                (*window, before, size), self.param_dtype, self.kernel_init,
                self.bias_init if use_bias else None, name=f"{name}_{i}",
            )  # fmt: skip
            layers.append(made())
            before = size
        inputs, layers = _promoted(inputs, layers, self.dtype)
        key = functools.partial(self._key, rng)
        return call_chain(self, function, key, inputs, rate, mode, layers, **options)


class _Params(nn.Module):
    """The parameters of flax's ``Dense`` or ``Conv``, under its names, without its product."""

    shape: tuple[int, ...]
    param_dtype: Any
    kernel_init: Any
    bias_init: Any

    @nn.compact
    def __call__(self) -> dict[str, jax.Array]:
        layer = {"kernel": self.param("kernel", self.kernel_init, self.shape, self.param_dtype)}
        if self.bias_init is not None:
            layer["bias"] = self.param("bias", self.bias_init, self.shape[-1:], self.param_dtype)
        return layer


def _promoted(inputs: jax.Array, layers: list[dict[str, jax.Array]], dtype: Any) -> Any:
    """Bring inputs and parameters to one dtype, as flax's own layers do."""
    leaves, structure = jax.tree.flatten((inputs, layers))
    return jax.tree.unflatten(structure, promote_dtype(*leaves, dtype=dtype))
