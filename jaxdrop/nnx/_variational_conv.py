"""VariationalConv as a Flax NNX module."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jaxdrop._core.annotations import MeshAxes
from jaxdrop._core.checks import check_count
from jaxdrop._functional.variational_conv import kernel_shape, variational_conv
from jaxdrop._functional.variational_kl import PRUNE_AT
from jaxdrop.nnx._layer import BIAS_INIT, KERNEL_INIT
from jaxdrop.nnx._variational import VariationalLayer


class VariationalConv(VariationalLayer):
    """A convolution of Gaussian weights that learns which ones are noise: ``variational_conv``.

    ``y = conv(x, m) + sqrt(conv(x**2, exp(log_sigma2))) e + bias``, e standard normal

    Args:
      in_features, out_features: numbers of channels.
      kernel_size: the window, one integer per spatial dimension; of one dimension, an integer.
      strides, padding, kernel_dilation, feature_group_count: as in ``flax.nnx.Conv``, padding as
        ``jax.lax`` takes it.
      the others: as in ``VariationalLinear``.

    Reference:
      Molchanov, Ashukha & Vetrov, Variational Dropout Sparsifies Deep Neural Networks, 2017.

    >>> import jax.numpy as jnp, jaxdrop.nnx
    >>> from flax import nnx
    >>> layer = jaxdrop.nnx.VariationalConv(1, 3, (3, 3), rngs=nnx.Rngs(0))
    >>> x = jnp.ones((2, 8, 8, 1))
    >>> y, mean = layer(x), layer(x, deterministic=True)
    >>> bool((y == mean).any()), bool(jnp.allclose(y, mean, atol=0.2))  # log_sigma2 starts at -10
    (False, True)
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
        mesh_axes: MeshAxes = (),
    ):
        super().__init__(
            kernel_shape(
                kernel_size,
                check_count(in_features, "in_features", "the number of input channels"),
                check_count(out_features, "out_features", "the number of output channels"),
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
            mesh_axes=mesh_axes,
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
            mesh_axes=self.mesh_axes,
        )
