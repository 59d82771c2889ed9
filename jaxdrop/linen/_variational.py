"""What the Linen layers of Gaussian weights share: their fields, parameters and call."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.linen.dtypes import promote_dtype

from jaxdrop._core.annotations import MeshAxes
from jaxdrop._core.checks import check_switch
from jaxdrop._flax.call import known_mode, needs_key
from jaxdrop._functional.variational_kl import PRUNE_AT, check_start
from jaxdrop.linen._layer import DropoutLayer


class VariationalLayer(DropoutLayer, nn.Module, kw_only=True):
    """A layer whose weights are normal, with a mean and a variance each."""

    deterministic: bool | None = None
    threshold: float = PRUNE_AT
    init_log_sigma2: float = -10.0
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
        linear: Callable[..., jax.Array],
        shape: Sequence[int],
        x: jax.Array,
        deterministic: Any,
        rng: Any,
    ) -> jax.Array:
        """Make the parameters, for a kernel of this shape, and call ``linear`` with them."""
        kernel = self.param("kernel", self.kernel_init, shape, self.param_dtype)
        start = nn.initializers.constant(check_start(self.init_log_sigma2))
        log_sigma2 = self.param("log_sigma2", start, shape, self.param_dtype)
        bias = None
        if check_switch(self.use_bias, "use_bias"):
            bias = self.param("bias", self.bias_init, shape[-1:], self.param_dtype)
        x, kernel, log_sigma2, bias = promote_dtype(x, kernel, log_sigma2, bias, dtype=self.dtype)
        mode = known_mode(self._mode(deterministic))
        key = self._key(rng) if needs_key(mode) else None
        options = {"threshold": self.threshold, "mesh_axes": self.mesh_axes}
        y = linear(key, x, kernel, log_sigma2, deterministic=mode, **options)
        return y if bias is None else y + jnp.broadcast_to(bias, y.shape)
