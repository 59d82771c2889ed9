"""unit_dropout_conv: a chain of convolutions whose dropped hidden channels are not computed."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
from jaxtyping import Array, Inexact

from jaxdrop._core.annotations import AnyArray, MeshAxes
from jaxdrop._core.checks import check_input
from jaxdrop._core.key import AnyKey
from jaxdrop._functional.convolution import convolution
from jaxdrop._functional.unit_chain import check_inputs, check_layers, unit_chain

_NAME = "unit_dropout_conv"


def unit_dropout_conv(
    key: AnyKey | None,
    x: Inexact[AnyArray, "batch *spatial inputs"],
    rate: float | Sequence[float],
    layers: Sequence[Mapping[str, Any]],
    *,
    strides: int | Sequence[int] = 1,
    padding: str | Sequence[tuple[int, int]] = "SAME",
    activation: Callable[[jax.Array], jax.Array] = jax.nn.relu,
    block_size: int = 1,
    contiguous: bool = False,
    groups: int = 1,
    deterministic: bool = False,
    mesh_axes: MeshAxes = (),
) -> Inexact[Array, "batch *spatial_out outputs"]:
    """Apply convolutions with dropout of hidden channels, without computing those that are dropped.

    ``h = activation(conv(h, kernel[..., kept before, kept]) + bias[kept]) n / k`` for every layer
    but the last, which has all of its channels

    ``unit_dropout_mlp`` with convolutions in place of products: the batch and all positions share
    the choice. The result and every gradient are those of the full layers with a mask over the
    channels; weights of channels that are left out get a gradient of exactly zero.

    Args:
      key, rate: as in ``unit_dropout_mlp``: hidden layer i chooses its channels by
        ``kept_units(fold_in(key, i), ...)``, and ``unit_dropout_mlp_kept`` says which.
      x: inputs, the channels last; any number of spatial dimensions.
      layers: two or more dicts with the parameters of flax's convolutions, ``kernel``
        ``(*window, inputs, outputs)`` and, where there is one, ``bias`` (outputs,).
      strides: of every layer alike, one for all spatial dimensions or one for each.
      padding: of every layer alike, as ``jax.lax`` takes it.
      activation: applied to the kept channels of each hidden layer, one by one.
      block_size, contiguous, groups, deterministic: as in ``unit_dropout_mlp``.
      mesh_axes: as in ``unit_dropout_mlp``; only the batch can be split.

    Returns:
      Array ``(batch, *spatial, outputs)``. A kept channel is multiplied by n / k, for k of n that
      are kept, so that E[h] is the hidden layer of test time.

    Not for: layers whose strides or padding differ, that are dilated or have groups of channels,
    or with something between that looks at all channels, such as a normalisation: gather there by
    ``take_units``.

    Raises:
      TypeError, ValueError: as ``unit_dropout_mlp``, and if strides or padding do not fit x.

    Reference:
      Tompson et al., Efficient Object Localization Using Convolutional Networks, 2015, for the
      dropout of channels.

    >>> import jax, jax.numpy as jnp, jaxdrop
    >>> key, x = jax.random.key(0), jnp.ones((1, 4, 4, 1))
    >>> layers = [{"kernel": jnp.ones((2, 2, 1, 8))}, {"kernel": jnp.ones((2, 2, 8, 1))}]
    >>> y = jaxdrop.unit_dropout_conv(key, x, 0.5, layers, padding="VALID")
    >>> y.shape, y[0, 0, 0, 0].tolist()  # 4 weights, 8 / 4 times 4 of 8 channels, 4 weights
    ((1, 2, 2, 1), 128.0)
    >>> first, last = jaxdrop.unit_dropout_mlp_kept(key, 0.5, layers)
    >>> [None if kept is None else kept.tolist() for kept in last["kernel"]]
    [None, None, [1, 4, 5, 6], None]
    """
    x = check_input(x, _NAME)
    checked = check_layers(layers, _NAME)
    rank = max(x.ndim - 2, 1)
    expected = "x (batch, *spatial, inputs) and a kernel (*window, inputs, outputs)"
    check_inputs(x, checked[0].kernel, rank, expected)
    return unit_chain(
        _NAME,
        convolution(rank, strides, padding, 1, 1, _NAME),
        key,
        x,
        rate,
        checked,
        activation=activation,
        block_size=block_size,
        contiguous=contiguous,
        groups=groups,
        deterministic=deterministic,
        mesh_axes=mesh_axes,
    )
