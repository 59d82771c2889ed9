"""variational_conv: a convolution in which every weight has its own learned noise."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Inexact

from jaxdrop._core.annotations import AnyArray, Flag, MeshAxes
from jaxdrop._core.axes import check_sides
from jaxdrop._core.checks import check_count, check_integer, check_sequence
from jaxdrop._core.key import AnyKey
from jaxdrop._functional.variational_dense import check_weights, sample
from jaxdrop._functional.variational_kl import PRUNE_AT


def variational_conv(
    key: AnyKey | None,
    x: Inexact[AnyArray, "batch *spatial inputs"],
    kernel: Inexact[AnyArray, "*window inputs outputs"],
    log_sigma2: Inexact[AnyArray, "*window inputs outputs"],
    *,
    strides: int | Sequence[int] = 1,
    padding: str | Sequence[tuple[int, int]] = "SAME",
    kernel_dilation: int | Sequence[int] = 1,
    feature_group_count: int = 1,
    deterministic: Flag = False,
    threshold: float = PRUNE_AT,
    mesh_axes: MeshAxes = (),
) -> Inexact[Array, "batch *spatial_out outputs"]:
    """Convolve with a kernel of independent Gaussian weights, by sampling the outputs.

    ``y = conv(x, m) + sqrt(conv(x**2, exp(log_sigma2))) e``; everything else is as in
    ``variational_dense``. Channels come last, as in Flax.

    Returns:
      Array of the convolution's shape. Every output has the mean and variance that sampled weights
      would give it: E[y] = conv(x, m), Var[y] = conv(x**2, exp(log_sigma2)); the correlation of
      outputs that share weights is left out, as in the paper.

    Raises:
      TypeError: if x, kernel or log_sigma2 is not a real floating array.
      ValueError: if the channels of x and kernel do not match, if strides, padding or dilation do
        not fit the dimensions of x, or key is None in training.

    Not for: training without ``jaxdrop.variational.kl_divergence`` in the
    loss, which lets every variance go to 0.

    Reference:
      Molchanov, Ashukha & Vetrov, Variational Dropout Sparsifies Deep Neural Networks, 2017.

    >>> import jax, jax.numpy as jnp, jaxdrop
    >>> x, m = jnp.ones((20_000, 3, 3)), jnp.ones((3, 3, 1))  # a window of 9 weights
    >>> key, variances = jax.random.key(0), jnp.full_like(m, jnp.log(4.0))
    >>> y = jaxdrop.variational_conv(key, x, m, variances, padding="VALID")
    >>> f"{y.mean():.0f} {y.std():.0f}"
    '9 6'
    """
    x, kernel, log_sigma2 = check_weights(x, kernel, log_sigma2, "variational_conv")
    rank, groups = x.ndim - 2, check_groups(feature_group_count)
    if rank < 1 or kernel.ndim != x.ndim or x.shape[-1] != kernel.shape[-2] * groups:
        raise ValueError(
            f"got x of shape {x.shape} and a kernel of shape {kernel.shape}; variational_conv "
            "expects (batch, *spatial, inputs) and (*window, inputs / feature_group_count, "
            f"outputs), with {feature_group_count=}"
        )
    stride = check_sides(strides, rank, "strides", "variational_conv", 1)
    dilation = check_sides(kernel_dilation, rank, "kernel_dilation", "variational_conv", 1)
    pads = _check_padding(padding, rank)
    spatial = tuple(range(1, rank + 1))
    layout = jax.lax.ConvDimensionNumbers(
        (0, rank + 1, *spatial), (rank + 1, rank, *range(rank)), (0, rank + 1, *spatial)
    )

    def convolve(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return jax.lax.conv_general_dilated(
            x,
            kernel,
            stride,
            pads,
            rhs_dilation=dilation,
            dimension_numbers=layout,
            feature_group_count=groups,
        )

    arrays = (x, kernel, log_sigma2)
    return sample(key, arrays, convolve, deterministic, threshold, mesh_axes, "variational_conv")


def kernel_shape(
    window: Any, inputs: int, outputs: int, feature_group_count: Any
) -> tuple[int, ...]:
    """Return the shape of a layer's kernel; a window of one dimension may be an integer."""
    sides = check_sides(window, np.size(window) or 1, "kernel_size", "VariationalConv", 1)
    groups = check_groups(feature_group_count)
    if inputs % groups or outputs % groups:
        raise ValueError(
            f"got {feature_group_count=} for {inputs} input and {outputs} output channels, "
            "expected a number that divides both"
        )
    return (*sides, inputs // groups, outputs)


def check_groups(feature_group_count: Any) -> int:
    return check_count(feature_group_count, "feature_group_count", "the number of channel groups")


def _check_padding(padding: Any, rank: int) -> Any:
    expected = "'SAME', 'SAME_LOWER', 'VALID', or a pair (low, high) for each spatial dimension"
    if isinstance(padding, str) and padding.upper() in ("SAME", "SAME_LOWER", "VALID"):
        return padding
    pairs = tuple(
        tuple(
            check_integer(side, "an entry of padding", "an integer")
            for side in check_sequence(pair, "an entry of padding", expected)
        )
        for pair in check_sequence(padding, "padding", expected)
    )
    if len(pairs) != rank or any(len(pair) != 2 for pair in pairs):
        raise ValueError(f"got {padding=} for {rank} spatial dimensions, expected {expected}")
    return pairs
