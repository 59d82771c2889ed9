"""Axes: the batch, channel and spatial dimensions of an array, and the sides of a block."""

from typing import Any

import numpy as np

from jaxdrop._core.checks import check_integer, check_sequence

_WAY_OUT = {
    "batch_axis": "; batch_axis=None says that there is no batch",
    "channel_axis": "; channel_axis=None says that there are no channels",
}


def check_axis(axis: int | None, ndim: int, name: str, caller: str) -> int | None:
    """Return the axis counted from the front, None for None, or raise an error."""
    if axis is None:
        return None
    way_out = _WAY_OUT.get(name, "")
    d = check_integer(axis, name, f"the number of a dimension in {caller}{way_out}")
    if not -ndim <= d < ndim:
        raise ValueError(
            f"got {name}={d} for an array of {ndim} dimensions, {caller} expects "
            f"{-ndim} <= {name} < {ndim}{way_out}"
        )
    return d % ndim


def check_layout(
    batch_axis: int | None, channel_axis: int | None, ndim: int, caller: str
) -> tuple[int | None, int | None, tuple[int, ...]]:
    """Return batch axis, channel axis and the spatial dimensions, which are all the others."""
    batch = check_axis(batch_axis, ndim, "batch_axis", caller)
    channel = check_axis(channel_axis, ndim, "channel_axis", caller)
    if batch is not None and batch == channel:
        raise ValueError(
            f"got {batch_axis=} and {channel_axis=}, the same dimension of an array of {ndim} "
            f"dimensions; {caller} expects two different ones, or None for the one that is missing"
        )
    return batch, channel, tuple(d for d in range(ndim) if d not in (batch, channel))


def check_sides(value: Any, dims: int, name: str, caller: str, at_least: int) -> tuple[int, ...]:
    """Return the side of a block for each spatial dimension, or raise an error."""
    if not dims:
        raise ValueError(
            f"got x without a spatial dimension; {caller} needs one besides batch and channels"
        )
    expected = f"integers: {caller} counts elements"
    if np.iterable(value):
        each = check_sequence(value, name, expected)
    else:
        each = (value,) * dims
    sides = tuple(check_integer(side, name, expected) for side in each)
    if len(sides) != dims:
        raise ValueError(
            f"got {name}={value} for {dims} spatial dimensions; {caller} takes one side for all "
            "or one for each"
        )
    if min(sides) < at_least:
        raise ValueError(f"got {name}={value}, {caller} expects sides of {at_least} or more")
    return sides
