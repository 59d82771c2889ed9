"""Names for what the public functions take."""

import jax
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Bool

AnyArray = jax.Array | np.ndarray

RateLike = ArrayLike
"""A number, or an array that broadcasts against what is dropped; clipped if traced."""

Flag = bool | np.bool_ | Bool[AnyArray, ""]
"""True, False, or a boolean of no dimensions, which may be traced."""
