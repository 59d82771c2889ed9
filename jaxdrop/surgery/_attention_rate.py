"""attention_rate: a rate as flax's attention can hold it, which compares it with 0 in Python."""

from typing import Any

import jax
import numpy as np

from jaxdrop.nnx._rate import DropRate, in_variable
from jaxdrop.surgery._attention import DroppingAttention, library_of
from jaxdrop.surgery._kinds import kind_of
from jaxdrop.surgery._where import Path


class AttentionRate(DropRate):
    """A rate in a variable: it counts as above 0, so that attention always draws a key."""

    def __gt__(self, other: Any) -> Any:
        return True


def rate_in_variable(rate: Any, stack: tuple[int, ...] = ()) -> AttentionRate:
    """Return a variable for the rate of attention, as ``in_variable`` does for other layers."""
    variable = in_variable(rate, stack)
    return AttentionRate(variable[...], **variable.get_metadata())


def attention_rate(
    path: Path, module: Any, attention_fn: Any, rate: Any, stack: tuple[int, ...] = ()
) -> Any:
    """Return a new rate for attention with this attention_fn, or raise a sentence.

    Jaxdrop's takes a rate that is traced, or an array that broadcasts against
    [batch, heads, 1, 1]; any other function takes a number below 1.
    """
    traced = isinstance(rate, jax.core.Tracer)
    if isinstance(attention_fn, DroppingAttention) and (traced or np.shape(rate)):
        return rate_in_variable(rate, stack)
    if traced or np.shape(rate):
        what = "a traced rate" if traced else f"an array of rates such as {rate!r:.60}"
        raise TypeError(
            f"the {kind_of(module)} at {path} cannot take {what}, which jaxdrop's attention can: "
            "surgery puts it in place of flax's function; leave others out with where"
        )
    rate = float(rate)
    if library_of(attention_fn) != "jaxdrop" and not rate < 1:
        raise ValueError(
            f"got rate {rate} for the attention at {path}: flax divides by 1 - rate there, so "
            "that a rate of 1 gives NaN"
        )
    return rate
