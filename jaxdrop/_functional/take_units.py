"""take_units: the kept units of an array, such as the rows of a kernel."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact

from jaxdrop._core.annotations import AnyArray
from jaxdrop._core.checks import array_of, check_dims, check_input, known_values
from jaxdrop._core.take import take


def take_units(
    x: Inexact[AnyArray, "..."], units: AnyArray, axis: int = 0
) -> Inexact[Array, "..."]:
    """Take the kept units of an array along one of its axes.

    ``y = x[:, ..., units, ..., :]``, with a gradient of zero for the units that are left out

    Args:
      x: floating or complex array: a kernel, a bias, a feature map, heads.
      units: int array (k,) of different units of x along that axis, as ``kept_units`` gives them.
      axis: the axis of the units.

    Returns:
      Array like x with k units. The same numbers as ``jnp.take``, whose gradient is a scatter; this
      one's is a gather, which XLA fuses into what reads it. If two units are equal, the gradient is
      wrong; they are looked at where they are known before tracing.

    Raises:
      TypeError: if units are no integers.
      ValueError: if they are not of one dimension, or, where they are known, different ones of x.

    >>> import jax, jax.numpy as jnp, jaxdrop
    >>> kernel = jnp.arange(12.0).reshape(4, 3)
    >>> jaxdrop.take_units(kernel, jnp.array([0, 2]), axis=1).tolist()
    [[0.0, 2.0], [3.0, 5.0], [6.0, 8.0], [9.0, 11.0]]
    >>> jax.grad(lambda w: jaxdrop.take_units(w, jnp.array([3])).sum())(kernel)[:, 0].tolist()
    [0.0, 0.0, 0.0, 1.0]
    """
    x = check_input(x, "take_units")
    (along,) = check_dims((axis,), x.ndim, "axis")
    takes = "take_units takes an integer array of one dimension, as kept_units gives it"
    at = array_of(units, "units", takes)
    if not jnp.issubdtype(at.dtype, jnp.integer):
        raise TypeError(f"got units of dtype {at.dtype}; {takes}")
    if at.ndim != 1:
        raise ValueError(f"got units of shape {at.shape}; {takes}")
    known = known_values(at)
    if known is not None:
        n, once = x.shape[along], np.unique(known)
        if once.size < known.size or (known.size and not 0 <= once[0] <= once[-1] < n):
            raise ValueError(
                f"got units={known.tolist()!s:.60}, expected different ones from 0 to {n - 1}, "
                "as kept_units gives them"
            )
    return take(x, at, along)
