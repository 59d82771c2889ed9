"""Variational dropout in a convolution, and over all layers of a parameter tree."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Inexact

from jaxdrop._dropout import AnyKey
from jaxdrop._variational import check_weights, sample
from jaxdrop._variational_kl import PRUNE_AT, log_alpha, pruned, variational_kl


def variational_conv(
    key: AnyKey | None,
    x: Inexact[Array, "batch *spatial inputs"],
    kernel: Inexact[Array, "*window inputs outputs"],
    log_sigma2: Inexact[Array, "*window inputs outputs"],
    *,
    strides: int | Sequence[int] = 1,
    padding: str | Sequence[tuple[int, int]] = "SAME",
    kernel_dilation: int | Sequence[int] = 1,
    feature_group_count: int = 1,
    deterministic: Any = False,
    threshold: float = PRUNE_AT,
) -> Inexact[Array, "batch *spatial_out outputs"]:
    """Convolve with a kernel of independent Gaussian weights, by sampling the outputs.

    ``y = conv(x, m) + sqrt(conv(x**2, exp(log_sigma2))) e``; everything else is as in
    ``variational_dense``. Channels come last, as in Flax.

    Returns:
      Array of the convolution's shape. Every output has the mean and variance that sampled weights
      would give it: E[y] = conv(x, m), Var[y] = conv(x**2, exp(log_sigma2)); the correlation of
      outputs that share weights is left out, as in the paper.

    Raises:
      TypeError, ValueError: with what was given and what is expected.

    Not for: training without ``variational_kl`` in the loss, which lets every variance go to 0.

    Reference:
      Molchanov, Ashukha & Vetrov, Variational Dropout Sparsifies Deep Neural Networks, 2017.

    >>> import jax, jax.numpy as jnp, jaxdrop
    >>> x, m = jnp.ones((2, 8, 8, 3)), jnp.ones((3, 3, 3, 4))
    >>> jaxdrop.variational_conv(jax.random.key(0), x, m, jnp.full_like(m, -10.0)).shape
    (2, 8, 8, 4)
    """
    x, kernel, log_sigma2 = check_weights(x, kernel, log_sigma2, "variational_conv")
    rank, groups = x.ndim - 2, feature_group_count
    if rank < 1 or kernel.ndim != x.ndim or x.shape[-1] != kernel.shape[-2] * groups:
        raise ValueError(
            f"got x of shape {x.shape} and a kernel of shape {kernel.shape}; variational_conv "
            "expects (batch, *spatial, inputs) and (*window, inputs / feature_group_count, "
            f"outputs), with {feature_group_count=}"
        )
    spatial = tuple(range(1, rank + 1))
    layout = jax.lax.ConvDimensionNumbers(
        (0, rank + 1, *spatial), (rank + 1, rank, *range(rank)), (0, rank + 1, *spatial)
    )

    def convolve(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return jax.lax.conv_general_dilated(
            x,
            kernel,
            _each(strides, rank),
            padding,
            rhs_dilation=_each(kernel_dilation, rank),
            dimension_numbers=layout,
            feature_group_count=feature_group_count,
        )

    arrays = (x, kernel, log_sigma2)
    return sample(key, arrays, convolve, deterministic, threshold, "variational_conv")


def _each(value: int | Sequence[int], rank: int) -> tuple[int, ...]:
    """One number stands for all spatial dimensions."""
    return tuple(value) if np.iterable(value) else (value,) * rank


def variational_loss(params: Any) -> Float[Array, ""]:
    """Sum ``variational_kl`` over every layer of a tree that has ``kernel`` and ``log_sigma2``.

    Args:
      params: parameters of a Linen model, or ``nnx.to_pure_dict`` of an NNX model's ``nnx.Param``
        state.

    >>> import jax, jax.numpy as jnp, jaxdrop
    >>> params = {"a": {"kernel": jnp.ones((3, 2)), "log_sigma2": jnp.full((3, 2), 8.0)}}
    >>> float(jaxdrop.variational_loss(params)) < 0.01
    True
    """
    return sum(
        (variational_kl(log_alpha(*layer)) for layer in _layers(params).values()),
        start=jnp.zeros(()),
    )


def variational_sparsity(params: Any, *, threshold: float = PRUNE_AT) -> dict[str, float]:
    """Return, for every such layer by its path, the fraction of weights that ``prune`` removes.

    >>> import jax.numpy as jnp, jaxdrop
    >>> layer = {"kernel": jnp.array([[1.0, 0.01]]), "log_sigma2": jnp.full((1, 2), -4.0)}
    >>> jaxdrop.variational_sparsity({"dense": layer})
    {'dense': 0.5}
    """
    return {
        path: float(pruned(*layer, threshold=threshold).mean())
        for path, layer in _layers(params).items()
    }


def _layers(params: Any, path: tuple[str, ...] = ()) -> dict[str, tuple[jax.Array, jax.Array]]:
    found = {}
    if "log_sigma2" in params:
        found["/".join(path)] = (params["kernel"], params["log_sigma2"])
    for name, child in params.items():
        if hasattr(child, "items"):
            found |= _layers(child, (*path, str(name)))
    if not path and not found:
        raise ValueError(
            "found no layer with kernel and log_sigma2 in the tree; give the parameters of a model "
            "with VariationalDense or VariationalConv in it"
        )
    return found
