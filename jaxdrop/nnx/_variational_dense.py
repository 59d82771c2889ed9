"""Sparse variational dropout as NNX modules."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn.dtypes import promote_dtype

from jaxdrop._core.checks import check_count, check_switch
from jaxdrop._flax.call import check_features, is_idle, known_mode
from jaxdrop._functional.variational_conv import kernel_shape, variational_conv
from jaxdrop._functional.variational_dense import variational_dense
from jaxdrop._functional.variational_kl import PRUNE_AT, check_start
from jaxdrop.nnx._stream import BIAS_INIT, KERNEL_INIT, Mode, check_rngs, draw, mode_of


class _Variational(Mode, nnx.Module):
    """Parameters and mode, which both layers have alike."""

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
        self._keep_stream(deterministic, rng_collection, rngs)

    def __call__(self, inputs: Any, *, deterministic: Any = None, rngs: Any = None) -> jax.Array:
        """Apply the layer; ``rngs`` (a key, stream or Rngs) goes before the layer's own stream."""
        mode = known_mode(mode_of(self, deterministic))
        inputs = check_features(inputs, self)
        bias = None if self.bias is None else self.bias[...]
        inputs, kernel, log_sigma2, bias = promote_dtype(
            (inputs, self.kernel[...], self.log_sigma2[...], bias), dtype=self.dtype
        )
        key = None if is_idle(mode) else draw(self, rngs)
        y = self._linear(key, inputs, kernel, log_sigma2, mode)
        return y if bias is None else y + jnp.broadcast_to(bias, y.shape)

    def _linear(self, key: Any, x: Any, kernel: Any, log_sigma2: Any, mode: Any) -> jax.Array:
        raise NotImplementedError


class VariationalDense(_Variational):
    """A dense layer of Gaussian weights that learns which ones are noise: ``variational_dense``.

    ``y = x @ m + sqrt(x**2 @ exp(log_sigma2)) e + bias``; the parameters are ``kernel`` (m),
    ``log_sigma2`` and ``bias``. Add ``jaxdrop.variational_loss`` of the model's parameters
    (``nnx.to_pure_dict(nnx.state(model, nnx.Param))``) to the loss.

    Args:
      in_features, out_features: numbers of inputs and outputs.
      deterministic: True for test time; ``model.train()`` and ``model.eval()`` set it.
      threshold: of log alpha, from which a weight is pruned at test time.
      init_log_sigma2: where ``log_sigma2`` starts.
      rng_collection: name of the stream that keys are taken from.
      use_bias, dtype, param_dtype, kernel_init, bias_init: as in ``flax.nnx.Linear``.
      rngs: for the parameters, and forked for the noise.

    Reference:
      Molchanov, Ashukha & Vetrov, Variational Dropout Sparsifies Deep Neural Networks, 2017.

    >>> import jax.numpy as jnp, jaxdrop.nnx
    >>> from flax import nnx
    >>> jaxdrop.nnx.VariationalDense(4, 3, rngs=nnx.Rngs(0))(jnp.ones((2, 4))).shape
    (2, 3)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        deterministic: bool | None = False,
        threshold: float = PRUNE_AT,
        init_log_sigma2: float = -10.0,
        rng_collection: str = "dropout",
        use_bias: bool = True,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        kernel_init: Any = KERNEL_INIT,
        bias_init: Any = BIAS_INIT,
        rngs: nnx.Rngs,
    ):
        super().__init__(
            (
                check_count(in_features, "in_features", "how many inputs there are"),
                check_count(out_features, "out_features", "how many outputs there are"),
            ),
            deterministic=deterministic,
            threshold=threshold,
            init_log_sigma2=init_log_sigma2,
            rng_collection=rng_collection,
            use_bias=use_bias,
            dtype=dtype,
            param_dtype=param_dtype,
            kernel_init=kernel_init,
            bias_init=bias_init,
            rngs=rngs,
        )

    def _linear(self, key: Any, x: Any, kernel: Any, log_sigma2: Any, mode: Any) -> jax.Array:
        return variational_dense(
            key, x, kernel, log_sigma2, deterministic=mode, threshold=self.threshold
        )


class VariationalConv(_Variational):
    """A convolution of Gaussian weights that learns which ones are noise: ``variational_conv``.

    Args:
      in_features, out_features: numbers of channels.
      kernel_size: the window, one integer per spatial dimension; of one dimension, an integer.
      strides, padding, kernel_dilation, feature_group_count: as in ``flax.nnx.Conv``, padding as
        ``jax.lax`` takes it.
      the others: as in ``VariationalDense``.

    Reference:
      Molchanov, Ashukha & Vetrov, Variational Dropout Sparsifies Deep Neural Networks, 2017.

    >>> import jax.numpy as jnp, jaxdrop.nnx
    >>> from flax import nnx
    >>> layer = jaxdrop.nnx.VariationalConv(1, 3, (3, 3), rngs=nnx.Rngs(0))
    >>> layer(jnp.ones((2, 8, 8, 1))).shape
    (2, 8, 8, 3)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: int | Sequence[int],
        *,
        strides: int | Sequence[int] = 1,
        padding: str | Sequence[tuple[int, int]] = "SAME",
        kernel_dilation: int | Sequence[int] = 1,
        feature_group_count: int = 1,
        deterministic: bool | None = False,
        threshold: float = PRUNE_AT,
        init_log_sigma2: float = -10.0,
        rng_collection: str = "dropout",
        use_bias: bool = True,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        kernel_init: Any = KERNEL_INIT,
        bias_init: Any = BIAS_INIT,
        rngs: nnx.Rngs,
    ):
        super().__init__(
            kernel_shape(
                kernel_size,
                check_count(in_features, "in_features", "how many input channels"),
                check_count(out_features, "out_features", "how many output channels"),
                feature_group_count,
            ),
            deterministic=deterministic,
            threshold=threshold,
            init_log_sigma2=init_log_sigma2,
            rng_collection=rng_collection,
            use_bias=use_bias,
            dtype=dtype,
            param_dtype=param_dtype,
            kernel_init=kernel_init,
            bias_init=bias_init,
            rngs=rngs,
        )
        self.strides = strides
        self.padding = padding
        self.kernel_dilation = kernel_dilation
        self.feature_group_count = feature_group_count

    def _linear(self, key: Any, x: Any, kernel: Any, log_sigma2: Any, mode: Any) -> jax.Array:
        return variational_conv(
            key,
            x,
            kernel,
            log_sigma2,
            strides=self.strides,
            padding=self.padding,
            kernel_dilation=self.kernel_dilation,
            feature_group_count=self.feature_group_count,
            deterministic=mode,
            threshold=self.threshold,
        )
