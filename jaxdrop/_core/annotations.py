"""Names for the types of what the public functions take."""

from collections.abc import Sequence

import jax
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Bool

AnyArray = jax.Array | np.ndarray

RateLike = ArrayLike
"""A number, or an array that broadcasts against what is dropped; clipped if traced."""

MeshAxes = Sequence[str | Sequence[str] | None] | jax.sharding.PartitionSpec
"""For each leading dimension the mesh axis that splits it, a tuple of axes, or None."""

Flag = bool | np.bool_ | Bool[AnyArray, ""]
"""True, False, or a 0-d boolean array, which may be traced."""
