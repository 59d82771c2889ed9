"""attention_keep_mask: the mask that dropout inside attention uses, as an array."""

from collections.abc import Sequence
from typing import Any

from jaxtyping import Array, Bool

from jaxdrop._core.annotations import MeshAxes, RateLike
from jaxdrop._core.checks import check_shape
from jaxdrop._core.key import AnyKey
from jaxdrop._core.mask import keep_mask


def attention_keep_mask(
    dropout_key: AnyKey | None,
    shape: Sequence[int],
    rate: RateLike,
    *,
    broadcast_dropout_dims: Sequence[int] = (),
    index_offset: Sequence[Any] = (),
    global_shape: Sequence[int] | None = None,
    mesh_axes: MeshAxes = (),
) -> Bool[Array, "B N T S"]:
    """Draw the mask that ``dot_product_attention`` uses, whatever its implementation and blocks.

    ``mask[b, n, t, s]`` is a function of the key, the rate and the position (b, n, t, s) alone. It
    is ``keep_mask`` of this shape, for tests and pictures: attention never holds it as a whole.

    Args:
      dropout_key: the random key that attention was given; None where the rate is 0 or 1.
      shape: (batch, query heads, queries, keys).
      rate: probability of dropping, exact to 2**-32, traced or not.
      broadcast_dropout_dims: dimensions of shape along which one decision is shared; (0, 1) is what
        flax calls ``broadcast_dropout``.
      index_offset, global_shape: where this block lies in the whole [B, N, T, S], as in
        ``random_bits``.
      mesh_axes: in their place, for each dimension of shape the mesh axis that splits it inside
        ``shard_map``, as in ``random_bits``.

    Returns:
      bool array of that shape, True = kept.

    Raises:
      ValueError: if the shape has not four dimensions, and as ``keep_mask``.

    >>> import jax, jaxdrop
    >>> mask = jaxdrop.attention_keep_mask(jax.random.key(0), (2, 4, 8, 8), 0.5)
    >>> mask.shape, bool((mask[0, 0] == mask[0, 1]).all())
    ((2, 4, 8, 8), False)
    """
    sizes = check_shape(shape)
    if len(sizes) != 4:
        raise ValueError(f"got shape={sizes}, expected (batch, query heads, queries, keys)")
    return keep_mask(
        dropout_key,
        sizes,
        rate,
        broadcast_dims=broadcast_dropout_dims,
        index_offset=index_offset,
        global_shape=global_shape,
        mesh_axes=mesh_axes,
    )
