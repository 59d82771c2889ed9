"""VariationalConv as a Flax Linen module."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
from flax import linen as nn

from jaxdrop._core.checks import check_count
from jaxdrop._flax.call import check_features
from jaxdrop._functional.variational_conv import kernel_shape, variational_conv
from jaxdrop.linen._variational import VariationalLayer


class VariationalConv(VariationalLayer):
    """A convolution of Gaussian weights that learns which ones are noise: ``variational_conv``.

    ``y = conv(x, m) + sqrt(conv(x**2, exp(log_sigma2))) e + bias``, e standard normal

    Attributes:
      features: number of output channels.
      kernel_size: the window, one integer per spatial dimension; of one dimension, an integer.
      strides, padding, kernel_dilation, feature_group_count: as in ``flax.linen.Conv``, padding as
        ``jax.lax`` takes it.
      the others: as in ``VariationalDense``.

    Reference:
      Molchanov, Ashukha & Vetrov, Variational Dropout Sparsifies Deep Neural Networks, 2017.

    >>> import flax.linen as nn, jax, jax.numpy as jnp, jaxdrop.linen
    >>> layer, x = jaxdrop.linen.VariationalConv(3, (3, 3)), jnp.ones((2, 8, 8, 1))
    >>> params = layer.init(jax.random.key(0), x, True)["params"]
    >>> y = layer.apply({"params": params}, x, False, jax.random.key(1))
    >>> mean = nn.Conv(3, (3, 3)).apply({"params": {k: params[k] for k in ("kernel", "bias")}}, x)
    >>> bool((y == mean).any()), bool(jnp.allclose(y, mean, atol=0.2))  # log_sigma2 starts at -10
    (False, True)
    """

    features: int
    kernel_size: int | Sequence[int]
    _: dataclasses.KW_ONLY
    strides: int | Sequence[int] = 1
    padding: str | Sequence[tuple[int, int]] = "SAME"
    kernel_dilation: int | Sequence[int] = 1
    feature_group_count: int = 1

    @nn.compact
    def __call__(
        self, inputs: Any, deterministic: Any = None, rng: jax.Array | None = None
    ) -> jax.Array:
        """Apply the layer; ``rng`` takes the place of a key from ``make_rng``."""
        inputs = check_features(inputs, self)
        outputs = check_count(self.features, "features", "the number of output channels")
        shape = kernel_shape(self.kernel_size, inputs.shape[-1], outputs, self.feature_group_count)
        convolve = functools.partial(
            variational_conv,
            strides=self.strides,
            padding=self.padding,
            kernel_dilation=self.kernel_dilation,
            feature_group_count=self.feature_group_count,
        )
        return self._apply(convolve, shape, inputs, deterministic, rng)
