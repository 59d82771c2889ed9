"""What the Linen and NNX layers share: they draw a key only where flax's own layers draw one."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from jaxdrop._core.key import is_typed
from jaxdrop._core.rate import check_rate
from jaxdrop._flax.call import is_known_scalar, known_rate
from jaxdrop._functional.dropout import Bits, ScaleAt, dropout


def apply_dropout(
    draw_key: Callable[[], jax.Array],
    x: Any,
    rate: Any,
    deterministic: Any,
    *,
    broadcast_dims: Sequence[int],
    scale_at: ScaleAt,
    bits: Bits,
) -> jax.Array:
    """Call ``dropout``, with a key from ``draw_key`` only in training and at rates between 0 and 1.

    As in flax, a mode or rate that is a concrete array counts as the value it holds, and a number
    may stand for the mode.
    """
    known = is_known_scalar(deterministic) and not is_typed(deterministic)
    if isinstance(deterministic, (int, np.bool_)) or known:
        deterministic = bool(deterministic)
    rate = known_rate(rate)
    checked = check_rate(rate)
    needless = checked.never or deterministic is True
    needless = needless or (checked.always and deterministic is False)
    key = None if needless else draw_key()
    return dropout(
        key,
        x,
        rate,
        broadcast_dims=broadcast_dims,
        deterministic=deterministic,
        scale_at=scale_at,
        bits=bits,
    )
