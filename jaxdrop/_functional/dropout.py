"""dropout: draw a mask, zero what it drops, scale what it keeps."""

from collections.abc import Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax.experimental.jet import JetTracer
from jaxtyping import Array, Inexact

from jaxdrop._core.annotations import AnyArray, Flag, MeshAxes, RateLike
from jaxdrop._core.broadcast import with_rank
from jaxdrop._core.checks import check_choice, check_deterministic, check_input
from jaxdrop._core.index import Block, Limbs
from jaxdrop._core.key import AnyKey, check_key
from jaxdrop._core.mask import (
    Bits,
    MaskParams,
    key_impl,
    mask_layout,
    mask_params,
    mask_words,
)
from jaxdrop._core.masked_scale import masked_scale
from jaxdrop._core.mesh import no_position, or_default, placed
from jaxdrop._core.rate import Rate, check_rate, check_rate_shape, keep_probability
from jaxdrop._core.scale import product_dtype, scaled

ScaleAt = Literal["train", "test"]


def dropout(
    key: AnyKey | None,
    x: Inexact[AnyArray, "..."],
    rate: RateLike,
    *,
    broadcast_dims: Sequence[int] = (),
    deterministic: Flag = False,
    scale_at: ScaleAt = "train",
    bits: Bits = "fast",
    index_offset: Sequence[Any] = (),
    global_shape: Sequence[int] | None = None,
    mesh_axes: MeshAxes = (),
) -> Inexact[Array, "..."]:
    """Drop elements at random and scale so that training and test agree.

    ``y = where(keep_mask(key, x.shape, rate), x / (1 - rate), 0)``

    The mask is computed inside the loop that uses it, and computed again in the backward pass, so
    only four words made of the key are kept between the two.

    Args:
      key: a random key of any implementation, or a legacy uint32 key of 2 words (threefry) or 4
        (rbg). May be None when deterministic is True, or rate is 0 or 1.
      x: floating or complex array of any shape.
      rate: probability of dropping, 0 <= rate <= 1: a Python number, a traced scalar, or an array
        that broadcasts against x (per channel, for instance). A traced one is clipped to [0, 1].
        No gradient flows to it.
      broadcast_dims: dimensions along which one decision is shared; negative ones count from the
        end.
      deterministic: True for test time; a bool, or a traced bool scalar.
      scale_at: "train" divides by ``1 - rate`` in training (inverted dropout); "test" leaves the
        training output unscaled and multiplies by ``1 - rate`` at test time (Srivastava et al.).
      bits: "fast", or "key" to draw with the key's own PRNG exactly as ``flax.linen.Dropout`` does,
        so that an old seeded run keeps its masks.
      index_offset: position of x's first element in the global array, one integer per leading
        dimension. Needed for microbatches, and inside ``shard_map`` if not mesh_axes: without it
        every shard or microbatch with the same key gets the same mask.
      global_shape: shape of the whole array of which x is a block.
      mesh_axes: inside ``shard_map``, in place of both: for each leading dimension of x the mesh
        axis that splits it, a tuple of axes, or None, as in a ``PartitionSpec``. All shards give
        the same key, and each gets its part of the mask of the whole array: another one where an
        axis splits x, the same where x is copied. Outside of ``shard_map``, and for axes that it
        leaves to XLA, it is checked and does nothing.

    Returns:
      Array like x, in its dtype. With scale_at="train", E[y] = x and
      Var[y] = x**2 rate / (1 - rate), as for every member that drops and scales. A dropped
      NaN or infinity is 0, and so is its gradient.

    Not for: the input of a batch normalisation, which stores the variance of training, dropout's
    included; images and the maps of convolutions, where the neighbours of a dropped element predict
    its value (use ``spatial_dropout`` or ``drop_block``).

    Raises:
      TypeError: if x is not a floating or complex array, or key is not a random key.
      ValueError: if a concrete rate is outside [0, 1], if key is None where a mask is drawn, if x
        does not fit into global_shape, or if mesh_axes names an axis twice, one that the mesh does
        not have, or, as far as ``check_vma`` knows, not those that split x.

    Reference:
      Srivastava et al., Dropout: A Simple Way to Prevent Neural Networks from Overfitting, 2014.

    >>> import jax, jax.numpy as jnp, jaxdrop
    >>> y = jaxdrop.dropout(jax.random.key(0), jnp.ones((2, 4)), 0.5)
    >>> sorted(set(y.ravel().tolist()))
    [0.0, 2.0]
    """
    x = check_input(x, "dropout")
    if no_position(index_offset, global_shape):
        mesh_axes = or_default(mesh_axes, x)
        placed(mesh_axes, key, x)
    check_choice(scale_at, "scale_at", ("train", "test"))
    block, base = mask_layout(x.shape, broadcast_dims, bits, index_offset, global_shape, mesh_axes)
    checked = check_rate(rate)
    check_rate_shape(checked, block.shape)
    test_mode = check_deterministic(deterministic)
    if checked.never:
        return x

    def at_test() -> jax.Array:
        if scale_at == "train":
            return x
        return scaled(x, with_rank(keep_probability(checked, product_dtype(x.dtype)), x.ndim))

    if test_mode is True:
        return at_test()
    if checked.always and test_mode is False:
        return jnp.zeros_like(x)
    key = check_key(key, "dropout")
    impl, in_training = key_impl(key, bits), scale_at == "train"
    params = mask_params(checked, x.dtype if in_training else None, impl)
    # jet has no rule for operations on keys, and looks for one inside a compiled function.
    drop = _drop if isinstance(x, JetTracer) else _compiled_drop
    y = drop(key, x, base, params, in_training, block, impl)
    return y if test_mode is False else jnp.where(test_mode, at_test(), y)


def _drop(
    key: Any,
    x: jax.Array,
    base: Limbs,
    params: Rate | MaskParams,
    in_training: bool,
    block: Block,
    impl: Any,
) -> jax.Array:
    words = mask_words(key, impl)
    return masked_scale(x, words, base, params, block=block, scaled=in_training, impl=impl)


_compiled_drop = jax.jit(_drop, static_argnames=("in_training", "block", "impl"), inline=True)
