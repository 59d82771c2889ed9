"""What the NNX layers of unit_dropout_mlp and unit_dropout_conv share: parameters and call."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn.dtypes import promote_dtype

from jaxdrop._core.annotations import MeshAxes
from jaxdrop._core.checks import check_count, check_switch
from jaxdrop._flax.call import check_features
from jaxdrop._flax.unit_chain import call_chain, check_sizes
from jaxdrop.nnx._layer import BIAS_INIT, KERNEL_INIT, DropoutLayer
from jaxdrop.nnx._rate import keep_rate, read_rate
from jaxdrop.nnx._stream import check_rngs


class UnitChain(DropoutLayer, nnx.Module):
    """A chain of linear layers whose dropped hidden units are not computed.

    A subclass says which function it calls, and what makes a layer with parameters for it.
    """

    _function: ClassVar[Callable[..., jax.Array]]

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
        mesh_axes: MeshAxes = (),
    ):
        inputs = check_count(in_features, "in_features", "the number of inputs")
        sizes = [inputs, *check_sizes(features)]
        check_rngs(rngs)
        check_switch(use_bias, "use_bias")
        self.layers = nnx.List(
            self._layer(
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
        self._keep_stream(deterministic, rng_collection, rngs, mesh_axes)

    def __call__(self, inputs: Any, *, deterministic: Any = None, rngs: Any = None) -> jax.Array:
        """Apply the layers; ``rngs``, a key, stream or Rngs, takes the place of its own stream."""
        mode = self._mode(deterministic)
        inputs = check_features(inputs, self)
        leaves, structure = jax.tree.flatten((inputs, [_params(layer) for layer in self.layers]))
        promoted = promote_dtype(tuple(leaves), dtype=self.dtype)
        inputs, layers = jax.tree.unflatten(structure, promoted)
        key = functools.partial(self._key, rngs)
        rate, function = read_rate(self.rate), type(self)._function
        return call_chain(self, function, key, inputs, rate, mode, layers, **self._options())

    def _layer(self, inputs: int, outputs: int, **options: Any) -> Any:
        raise NotImplementedError

    def _options(self) -> dict[str, Any]:
        """Options of the function that this layer adds."""
        return {}


def _params(layer: Any) -> dict[str, jax.Array]:
    params = {"kernel": layer.kernel[...]}
    if layer.bias is not None:
        params["bias"] = layer.bias[...]
    return params
