"""Sparse variational dropout as Linen modules."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.linen.dtypes import promote_dtype

from jaxdrop._core.checks import check_count, check_switch
from jaxdrop._flax.call import check_features, is_idle, known_mode
from jaxdrop._functional.variational_conv import kernel_shape, variational_conv
from jaxdrop._functional.variational_dense import variational_dense
from jaxdrop._functional.variational_kl import PRUNE_AT, check_start


class VariationalDense(nn.Module):
    """A dense layer of Gaussian weights that learns which ones are noise: ``variational_dense``.

    ``y = x @ m + sqrt(x**2 @ exp(log_sigma2)) e + bias``; the parameters are ``kernel`` (m),
    ``log_sigma2`` and ``bias``. Add ``jaxdrop.variational_loss(params)`` to the loss;
    ``jaxdrop.variational_sparsity(params)`` tells how many weights test time leaves out.

    Attributes:
      features: number of outputs.
      deterministic: True for test time; give it here or in the call.
      threshold: of log alpha, from which a weight is pruned at test time.
      init_log_sigma2: where ``log_sigma2`` starts.
      rng_collection: name of the collection that the key is taken from.
      use_bias, dtype, param_dtype, kernel_init, bias_init: as in ``flax.linen.Dense``.

    Reference:
      Molchanov, Ashukha & Vetrov, Variational Dropout Sparsifies Deep Neural Networks, 2017.

    >>> import jax, jax.numpy as jnp, jaxdrop.linen
    >>> layer, x = jaxdrop.linen.VariationalDense(3, deterministic=False), jnp.ones((2, 4))
    >>> variables = layer.init(jax.random.key(0), x)
    >>> layer.apply(variables, x, rngs={"dropout": jax.random.key(1)}).shape
    (2, 3)
    """

    features: int
    _: dataclasses.KW_ONLY
    deterministic: bool | None = None
    threshold: float = PRUNE_AT
    init_log_sigma2: float = -10.0
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
        """Apply the layer; ``rng`` takes the place of a key from ``make_rng``."""
        mode = nn.merge_param("deterministic", self.deterministic, deterministic)
        inputs = check_features(inputs, self)
        shape = (inputs.shape[-1], check_count(self.features, "features", "how many outputs"))
        return _apply(self, variational_dense, shape, inputs, mode, rng)


class VariationalConv(nn.Module):
    """A convolution of Gaussian weights that learns which ones are noise: ``variational_conv``.

    Attributes:
      features: number of output channels.
      kernel_size: the window, one integer per spatial dimension; of one dimension, an integer.
      strides, padding, kernel_dilation, feature_group_count: as in ``flax.linen.Conv``, padding as
        ``jax.lax`` takes it.
      the others: as in ``VariationalDense``.

    Reference:
      Molchanov, Ashukha & Vetrov, Variational Dropout Sparsifies Deep Neural Networks, 2017.

    >>> import jax, jax.numpy as jnp, jaxdrop.linen
    >>> layer = jaxdrop.linen.VariationalConv(3, (3, 3), deterministic=False)
    >>> layer.init_with_output(jax.random.key(0), jnp.ones((2, 8, 8, 1)))[0].shape
    (2, 8, 8, 3)
    """

    features: int
    kernel_size: int | Sequence[int]
    _: dataclasses.KW_ONLY
    strides: int | Sequence[int] = 1
    padding: str | Sequence[tuple[int, int]] = "SAME"
    kernel_dilation: int | Sequence[int] = 1
    feature_group_count: int = 1
    deterministic: bool | None = None
    threshold: float = PRUNE_AT
    init_log_sigma2: float = -10.0
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
        """Apply the layer; ``rng`` takes the place of a key from ``make_rng``."""
        mode = nn.merge_param("deterministic", self.deterministic, deterministic)
        inputs = check_features(inputs, self)
        outputs = check_count(self.features, "features", "how many output channels")
        shape = kernel_shape(self.kernel_size, inputs.shape[-1], outputs, self.feature_group_count)
        convolve = functools.partial(
            variational_conv,
            strides=self.strides,
            padding=self.padding,
            kernel_dilation=self.kernel_dilation,
            feature_group_count=self.feature_group_count,
        )
        return _apply(self, convolve, shape, inputs, mode, rng)


def _apply(layer: Any, linear: Any, shape: Sequence[int], x: Any, mode: Any, rng: Any) -> jax.Array:
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
