"""feature_alpha_dropout: alpha dropout of whole feature maps."""

from jaxtyping import Array, Float

from jaxdrop._core.annotations import AnyArray, Flag, MeshAxes, RateLike
from jaxdrop._core.axes import check_layout
from jaxdrop._core.checks import check_real_input
from jaxdrop._core.key import AnyKey
from jaxdrop._functional.alpha_dropout import NO_COMPLEX, drop_to_saturation


def feature_alpha_dropout(
    key: AnyKey | None,
    x: Float[AnyArray, "..."],
    rate: RateLike,
    *,
    batch_axis: int | None = 0,
    channel_axis: int = -1,
    deterministic: Flag = False,
    mesh_axes: MeshAxes = (),
) -> Float[Array, "..."]:
    """Set whole feature maps to SELU's negative saturation: ``alpha_dropout`` for convolutions.

    ``y = a * where(m[n, c], x, s) + b``, the constants as in ``alpha_dropout``

    Args:
      key: a random key; may be None when deterministic is True or rate is 0 or 1.
      x: floating array with a channel axis, usually a batch axis, and any number of spatial ones.
      rate: probability of dropping a map.
      batch_axis: the dimension of the examples; None if x is one example.
      channel_axis: the dimension of the maps: -1 as in Flax and Keras, 1 as in PyTorch.
      deterministic: True for test time; a bool, or a traced bool scalar.
      mesh_axes: inside ``shard_map``, the mesh axes that split x, as in ``dropout``.

    Returns:
      Array like x, with the moments of ``alpha_dropout``; a map is kept or dropped as a whole.

    Raises:
      TypeError: if x is not a real floating array.
      ValueError: as ``dropout``, and if x does not have these axes.

    Not for: activations other than SELU, as ``alpha_dropout``.

    Reference:
      Klambauer et al., Self-Normalizing Neural Networks, 2017; whole maps as in Tompson et al.,
      2015, and in PyTorch's FeatureAlphaDropout.

    >>> import jax, jax.numpy as jnp, jaxdrop
    >>> y = jaxdrop.feature_alpha_dropout(jax.random.key(0), jnp.ones((2, 5, 5, 8)), 0.5)
    >>> bool((y == y[:, :1, :1]).all())
    True
    """
    x = check_real_input(x, "feature_alpha_dropout", "x", NO_COMPLEX)
    _, _, spatial = check_layout(batch_axis, channel_axis, x.ndim, "feature_alpha_dropout")
    return drop_to_saturation(
        key, x, rate, set(spatial), deterministic, mesh_axes, "feature_alpha_dropout"
    )
