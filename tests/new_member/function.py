"""row_dropout: whole rows at once."""

from jaxtyping import Array, Inexact

from jaxdrop._core.annotations import AnyArray, Flag, MeshAxes, RateLike
from jaxdrop._core.checks import check_input
from jaxdrop._core.key import AnyKey
from jaxdrop._core.mode import resolve
from jaxdrop._core.rate import check_rate
from jaxdrop._functional.dropout import dropout


def row_dropout(
    key: AnyKey | None,
    x: Inexact[AnyArray, "... columns"],
    rate: RateLike,
    *,
    deterministic: Flag = False,
    mesh_axes: MeshAxes = (),
) -> Inexact[Array, "... columns"]:
    """Drop whole rows.

    ``y[..., j] = x[..., j] * m[...] / (1 - rate)``, ``P(m[...] = 0) = rate``

    Args:
      key: a random key; may be None when deterministic is True or rate is 0 or 1.
      x: floating or complex array whose last axis is that of the columns.
      rate: probability of dropping a row, as in ``dropout``.
      deterministic: True for test time; a bool, or a traced bool scalar.
      mesh_axes: inside ``shard_map``, the mesh axes that split x, as in ``dropout``.

    Returns:
      Array like x with E[y] = x; all elements of a row are kept or dropped together.

    Raises:
      ValueError: as ``dropout``, and if x has no axes.

    Not for: rows without each other's information.

    Reference:
      None: it is the example of CONTRIBUTING.md.

    >>> import jax, jax.numpy as jnp, jaxdrop
    >>> y = jaxdrop.row_dropout(jax.random.key(0), jnp.ones((8, 3)), 0.5)
    >>> bool((y == y[:, :1]).all())
    True
    """
    x = check_input(x, "row_dropout")
    key, test_mode = resolve(key, check_rate(rate), deterministic, "row_dropout")
    return dropout(key, x, rate, broadcast_dims=(-1,), deterministic=test_mode, mesh_axes=mesh_axes)
