"""What the NNX layers of Gaussian weights share: their parameters and call."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn.dtypes import promote_dtype

from jaxdrop._core.annotations import MeshAxes
from jaxdrop._core.checks import check_switch
from jaxdrop._flax.call import check_features, known_mode, needs_key
from jaxdrop._functional.variational_kl import check_start
from jaxdrop.nnx._layer import DropoutLayer
from jaxdrop.nnx._stream import check_rngs


class VariationalLayer(DropoutLayer, nnx.Module):
    """A layer whose weights are normal, with a mean and a variance each."""

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        deterministic: bool | None,
        threshold: float,
        init_log_sigma2: float,
        rng_collection: str,
        use_bias: bool,
        dtype: Any,
        param_dtype: Any,
        kernel_init: Any,
        bias_init: Any,
        rngs: nnx.Rngs,
        mesh_axes: MeshAxes,
    ):
        check_rngs(rngs)
        start = check_start(init_log_sigma2)
        self.kernel = nnx.Param(kernel_init(rngs.params(), shape, param_dtype))
        self.log_sigma2 = nnx.Param(jnp.full(shape, start, param_dtype))
        self.bias = nnx.data(None)
        if check_switch(use_bias, "use_bias"):
            self.bias = nnx.Param(bias_init(rngs.params(), shape[-1:], param_dtype))
        self.threshold = threshold
        self.dtype = dtype
        self._keep_stream(deterministic, rng_collection, rngs, mesh_axes)

    def __call__(self, inputs: Any, *, deterministic: Any = None, rngs: Any = None) -> jax.Array:
        """Apply the layer; ``rngs``, a key, stream or Rngs, takes the place of its own stream."""
        mode = known_mode(self._mode(deterministic))
        inputs = check_features(inputs, self)
        bias = None if self.bias is None else self.bias[...]
        inputs, kernel, log_sigma2, bias = promote_dtype(
            (inputs, self.kernel[...], self.log_sigma2[...], bias), dtype=self.dtype
        )
        key = self._key(rngs) if needs_key(mode) else None
        y = self._linear(key, inputs, kernel, log_sigma2, mode)
        return y if bias is None else y + jnp.broadcast_to(bias, y.shape)

    def _linear(self, key: Any, x: Any, kernel: Any, log_sigma2: Any, mode: Any) -> jax.Array:
        raise NotImplementedError
