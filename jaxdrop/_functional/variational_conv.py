"""variational_conv: a convolution in which every weight has its own learned noise."""

from collections.abc import Sequence
from typing import Any

from jaxtyping import Array, Inexact

from jaxdrop._core.annotations import AnyArray, Flag, MeshAxes
from jaxdrop._core.checks import check_count
from jaxdrop._core.key import AnyKey
from jaxdrop._functional.convolution import check_window, convolution
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
    convolve = convolution(rank, strides, padding, kernel_dilation, groups, "variational_conv")
    arrays = (x, kernel, log_sigma2)
    return sample(key, arrays, convolve, deterministic, threshold, mesh_axes, "variational_conv")


def kernel_shape(
    window: Any, inputs: int, outputs: int, feature_group_count: Any
) -> tuple[int, ...]:
    """Return the shape of a layer's kernel; a window of one dimension may be an integer."""
    sides = check_window(window, "VariationalConv")
    groups = check_groups(feature_group_count)
    if inputs % groups or outputs % groups:
        raise ValueError(
            f"got {feature_group_count=} for {inputs} input and {outputs} output channels, "
            "expected a number that divides both"
        )
    return (*sides, inputs // groups, outputs)


def check_groups(feature_group_count: Any) -> int:
    return check_count(feature_group_count, "feature_group_count", "the number of channel groups")
