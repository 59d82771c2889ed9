"""Names for the types of what the public functions take."""

import jax
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Bool

AnyArray = jax.Array | np.ndarray

RateLike = ArrayLike
"""A number, or an array that broadcasts against what is dropped; clipped if traced."""

Flag = bool | np.bool_ | Bool[AnyArray, ""]
"""True, False, or a 0-d boolean array, which may be traced."""
