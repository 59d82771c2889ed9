"""What the Linen layers of Gaussian weights share."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.linen.dtypes import promote_dtype

from jaxdrop._core.checks import check_switch
from jaxdrop._flax.call import is_idle, known_mode
from jaxdrop._functional.variational_kl import check_start


def apply_variational(
    layer: Any, linear: Any, shape: Sequence[int], x: Any, mode: Any, rng: Any
) -> jax.Array:
    """Make the layer's parameters, and a key in training, and call ``linear`` with them."""
    kernel = layer.param("kernel", layer.kernel_init, shape, layer.param_dtype)
    start = nn.initializers.constant(check_start(layer.init_log_sigma2))
    log_sigma2 = layer.param("log_sigma2", start, shape, layer.param_dtype)
    bias = None
    if check_switch(layer.use_bias, "use_bias"):
        bias = layer.param("bias", layer.bias_init, shape[-1:], layer.param_dtype)
    x, kernel, log_sigma2, bias = promote_dtype(x, kernel, log_sigma2, bias, dtype=layer.dtype)
    mode = known_mode(mode)
    if rng is None and not is_idle(mode):
        rng = layer.make_rng(layer.rng_collection)
    y = linear(rng, x, kernel, log_sigma2, deterministic=mode, threshold=layer.threshold)
    return y if bias is None else y + jnp.broadcast_to(bias, y.shape)
