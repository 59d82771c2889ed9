"""Convolutions with the channels last, as in Flax, for any number of spatial dimensions."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdrop._core.axes import check_sides
from jaxdrop._core.checks import check_integer, check_sequence


def convolution(
    rank: int, strides: Any, padding: Any, dilation: Any, groups: int, caller: str
) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """Return the convolution of (batch, *spatial, inputs) with (*window, inputs / groups, outputs).

    Raises an error unless strides, padding and dilation fit ``rank`` spatial dimensions.
    """
    strides = check_sides(strides, rank, "strides", caller, 1)
    dilation = check_sides(dilation, rank, "kernel_dilation", caller, 1)
    pads = _check_padding(padding, rank)
    spatial = tuple(range(1, rank + 1))
    layout = jax.lax.ConvDimensionNumbers(
        (0, rank + 1, *spatial), (rank + 1, rank, *range(rank)), (0, rank + 1, *spatial)
    )

    def convolve(x: jax.Array, kernel: jax.Array) -> jax.Array:
        dtype = jnp.result_type(x, kernel)
        return jax.lax.conv_general_dilated(
            x.astype(dtype),
            kernel.astype(dtype),
            strides,
            pads,
            rhs_dilation=dilation,
            dimension_numbers=layout,
            feature_group_count=groups,
        )

    return convolve


def check_window(kernel_size: Any, caller: str) -> tuple[int, ...]:
    """Return the sides of a layer's window; one of one dimension may be an integer."""
    return check_sides(kernel_size, np.size(kernel_size) or 1, "kernel_size", caller, 1)


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
