"""drop_path: residual branches dropped example by example, and rates that grow with depth."""

from typing import Any

from jaxtyping import Array, Inexact

from jaxdrop._core.annotations import AnyArray, Flag, MeshAxes, RateLike
from jaxdrop._core.axes import check_axis
from jaxdrop._core.checks import check_input, check_integer
from jaxdrop._core.key import AnyKey
from jaxdrop._core.mode import resolve
from jaxdrop._core.rate import check_rate
from jaxdrop._functional.dropout import dropout


def drop_path(
    key: AnyKey | None,
    x: Inexact[AnyArray, "..."],
    rate: RateLike,
    *,
    batch_axis: int | None = 0,
    deterministic: Flag = False,
    mesh_axes: MeshAxes = (),
) -> Inexact[Array, "..."]:
    """Drop a residual branch for some examples: stochastic depth.

    ``y[n] = x[n] * m[n] / (1 - rate)``, ``P(m[n] = 0) = rate``; used as ``h + drop_path(key, f(h),
    rate)``.

    Args:
      key: a random key; may be None when deterministic is True or rate is 0 or 1.
      x: floating or complex output of the branch.
      rate: probability of dropping the branch for an example, as in ``dropout``.
      batch_axis: the dimension of the examples; None for one decision for all of x.
      deterministic: True for test time; a bool, or a traced bool scalar.
      mesh_axes: inside ``shard_map``, the mesh axes that split x, as in ``dropout``.

    Returns:
      Array like x with E[y] = x and the variance of ``dropout``; an example's elements are kept or
      dropped together.

    Raises:
      ValueError: as ``dropout``, and if x does not have that axis.

    Not for: a path without a residual connection around it (the example would be lost), nor to
    save time, since the branch is computed anyway. ``layer_drop`` skips the computation.

    Reference:
      Huang et al., Deep Networks with Stochastic Depth, 2016, which scales at test time instead.

    >>> import jax, jax.numpy as jnp, jaxdrop
    >>> y = jaxdrop.drop_path(jax.random.key(0), jnp.ones((4, 3)), 0.5)
    >>> bool((y == y[:, :1]).all())
    True
    """
    x = check_input(x, "drop_path")
    batch = check_axis(batch_axis, x.ndim, "batch_axis", "drop_path")
    key, test_mode = resolve(key, check_rate(rate), deterministic, "drop_path")
    shared = tuple(d for d in range(x.ndim) if d != batch)
    return dropout(
        key, x, rate, broadcast_dims=shared, deterministic=test_mode, mesh_axes=mesh_axes
    )


def drop_path_rates(depth: int, max_rate: RateLike, *, first: RateLike = 0.0) -> tuple[Any, ...]:
    """Spread rates linearly over the layers of a network, first to last.

    ``rates[l] = first + (max_rate - first) * l / (depth - 1)``

    Args:
      depth: number of layers, 0 or more.
      max_rate: rate of the last layer; a traced scalar, such as a schedule's value, gives traced
        rates.
      first: rate of the first layer. 0 is timm's rule; ``max_rate / depth`` is the paper's, whose
        l-th layer of L survives with probability ``1 - l / L * max_rate``.

    Returns:
      A tuple of depth rates. A single layer gets ``first``.

    Raises:
      TypeError: if depth is not an integer.
      ValueError: if depth is negative, or a concrete rate is outside [0, 1].

    >>> import jaxdrop
    >>> jaxdrop.drop_path_rates(3, 0.2)
    (0.0, 0.1, 0.2)
    """
    layers = check_integer(depth, "depth", "the number of layers, an integer")
    if layers < 0:
        raise ValueError(f"got depth={layers}, expected 0 or more layers")
    low, high = check_rate(first, "first").value, check_rate(max_rate, "max_rate").value
    # Weights that are exactly 0 and 1 at the ends give exactly the rates that were asked for.
    shares = [n / (layers - 1) if layers > 1 else 0.0 for n in range(layers)]
    return tuple(low * (1 - share) + high * share for share in shares)
