"""spatial_dropout: whole feature maps at once."""

from jaxtyping import Array, Inexact

from jaxdrop._core.annotations import AnyArray, Flag, MeshAxes, RateLike
from jaxdrop._core.axes import check_layout
from jaxdrop._core.checks import check_input
from jaxdrop._core.key import AnyKey
from jaxdrop._core.mode import resolve
from jaxdrop._core.rate import check_rate
from jaxdrop._functional.dropout import dropout


def spatial_dropout(
    key: AnyKey | None,
    x: Inexact[AnyArray, "..."],
    rate: RateLike,
    *,
    batch_axis: int | None = 0,
    channel_axis: int = -1,
    deterministic: Flag = False,
    mesh_axes: MeshAxes = (),
) -> Inexact[Array, "..."]:
    """Drop whole feature maps, since neighbours in a map predict each other's values.

    ``y[n, ..., c] = x[n, ..., c] * m[n, c] / (1 - rate)``, ``P(m[n, c] = 0) = rate``

    Args:
      key: a random key; may be None when deterministic is True or rate is 0 or 1.
      x: floating or complex array with a channel axis, usually a batch axis, and any number of
        spatial ones.
      rate: probability of dropping a map, as in ``dropout``.
      batch_axis: the dimension of the examples; None if x is one example.
      channel_axis: the dimension of the maps: -1 as in Flax and Keras, 1 as in PyTorch.
      deterministic: True for test time; a bool, or a traced bool scalar.
      mesh_axes: inside ``shard_map``, the mesh axes that split x, as in ``dropout``.

    Returns:
      Array like x. E[y] = x and Var[y] = x**2 rate / (1 - rate), as in ``dropout``; all elements
      of a map are kept or dropped together.

    Raises:
      ValueError: as ``dropout``, and if x does not have these axes.

    Not for: layers whose channels carry different things at every position, such as a model's
    input image, where it removes a whole colour.

    Reference:
      Tompson et al., Efficient Object Localization Using Convolutional Networks, 2015.

    >>> import jax, jax.numpy as jnp, jaxdrop
    >>> y = jaxdrop.spatial_dropout(jax.random.key(0), jnp.ones((2, 5, 5, 8)), 0.5)
    >>> bool((y == y[:, :1, :1]).all())
    True
    """
    x = check_input(x, "spatial_dropout")
    _, _, spatial = check_layout(batch_axis, channel_axis, x.ndim, "spatial_dropout")
    key, test_mode = resolve(key, check_rate(rate), deterministic, "spatial_dropout")
    return dropout(
        key, x, rate, broadcast_dims=spatial, deterministic=test_mode, mesh_axes=mesh_axes
    )
