"""keep_mask: an element is kept where its random word is not below the rate's threshold.

A rate on the host becomes its threshold here, before tracing and in float64. One that is known only
on the device becomes it inside the loop that uses it, so that only the rate is saved.
"""

import functools
from collections.abc import Collection, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from jaxdrop._core.annotations import MeshAxes, RateLike
from jaxdrop._core.bits import word_bits
from jaxdrop._core.broadcast import shared_shape, spread, with_rank
from jaxdrop._core.checks import check_choice, check_dims, check_shape
from jaxdrop._core.index import Block, Limbs, block_layout, check_offsets
from jaxdrop._core.key import AnyKey, check_key, key_data, key_words, typed
from jaxdrop._core.mesh import Names, apart_from, axes_or_position, shard_layout
from jaxdrop._core.rate import (
    Rate,
    all_dropped,
    check_rate,
    check_rate_shape,
    keep_probability,
    scale,
    threshold,
)
from jaxdrop._core.scale import product_dtype

Bits = Literal["fast", "key"]


class MaskParams(NamedTuple):
    """A rate as the loop needs it."""

    threshold: Any  # words below are dropped
    drop_all: Any  # where everything is dropped, or None for nowhere
    scale: Any  # the factor of kept elements, or None
    keep_prob: Any  # for bits="key", or None


def keep_mask(
    key: AnyKey | None,
    shape: Sequence[int],
    rate: RateLike,
    *,
    broadcast_dims: Sequence[int] = (),
    bits: Bits = "fast",
    index_offset: Sequence[Any] = (),
    global_shape: Sequence[int] | None = None,
    mesh_axes: MeshAxes = (),
) -> Bool[Array, "..."]:
    """Draw the mask that ``dropout`` uses: True where an element is kept.

    ``mask[i] = random_bits(key, shape)[i] >= rate * 2**32``

    Args:
      key: a random key of any implementation, or a legacy uint32 key of 2 or 4 words; may be None
        when rate is 0 or 1.
      shape: shape of the array to be masked.
      rate: probability of dropping, as in ``dropout``.
      broadcast_dims: dimensions along which one decision is shared.
      bits: "fast", or "key" for the draw that ``flax.linen.Dropout`` makes.
      index_offset, global_shape, mesh_axes: as in ``random_bits``; with bits="fast" only.

    Returns:
      bool array of the given shape with P(False) = rate, exact to 2**-32 for a concrete rate.

    Raises:
      ValueError: as ``dropout``, and for index_offset or global_shape with bits="key".

    >>> import jax, jaxdrop
    >>> mask = jaxdrop.keep_mask(jax.random.key(0), (2, 100), 0.5, broadcast_dims=(0,))
    >>> bool((mask[0] == mask[1]).all()), 30 < int(mask[0].sum()) < 70
    (True, True)
    """
    shape = check_shape(shape)
    block, base = mask_layout(shape, broadcast_dims, bits, index_offset, global_shape, mesh_axes)
    checked = check_rate(rate)
    check_rate_shape(checked, block.shape)
    if checked.never or checked.always:
        return jnp.full(shape, checked.never)
    key = check_key(key, "keep_mask")
    impl = key_impl(key, bits)
    return _keep_mask(key, base, mask_params(checked, None, impl), block, shape, impl)


def mask_layout(
    shape: tuple[int, ...],
    broadcast_dims: Sequence[int] = (),
    bits: str = "fast",
    index_offset: Sequence[Any] = (),
    global_shape: Sequence[int] | None = None,
    mesh_axes: MeshAxes = (),
) -> tuple[Block, Limbs]:
    """Check where a mask lies; return the block that is drawn and its first index."""
    check_choice(bits, "bits", ("fast", "key"))
    offsets = check_offsets(index_offset)
    if bits == "key" and (offsets or global_shape is not None):
        raise ValueError(
            f"got index_offset={offsets!r} and {global_shape=} with bits='key', which draws with "
            "the key's own PRNG and knows no index: leave index_offset and global_shape out, or "
            "use bits='fast'"
        )
    shared = check_dims(broadcast_dims, len(shape))
    names = axes_or_position(mesh_axes, len(shape), offsets, global_shape)
    if names and bits == "key":
        raise ValueError(
            f"got {mesh_axes=} with bits='key' inside shard_map, which draws with the key's own "
            "PRNG and knows no index: use bits='fast', or leave mesh_axes out and fold the "
            "shard's number into the key"
        )
    if names:
        return shard_layout(shared_shape(shape, shared), apart_from(names, shared))
    if shared and len(offsets) <= len(shape):
        offsets = tuple(0 if d in shared else o for d, o in enumerate(offsets))
    if shared and global_shape is not None:
        whole = check_shape(global_shape, "global_shape")
        if len(whole) == len(shape):
            global_shape = shared_shape(whole, shared)
    return block_layout(shared_shape(shape, shared), offsets, global_shape)


def key_impl(key: Any, bits: str) -> Any:
    """Return the implementation of the key that bits="key" draws with; None for bits="fast"."""
    return None if bits == "fast" else jax.random.key_impl(typed(key))


def mask_words(key: Any, impl: Any) -> jax.Array:
    """Return what the loop needs of a key: the generator's words, or with impl the key's data."""
    return key_words(key) if impl is None else key_data(key)


def mask_params(rate: Rate, dtype: Any = None, impl: Any = None) -> Any:
    """Return the parameters of a host rate, in float64; a device rate as it is.

    Args:
      rate: the rate, checked.
      dtype: of the array that is scaled; None leaves kept elements unscaled.
      impl: what ``key_impl`` returned.
    """
    on_device = isinstance(rate.value, jax.Array)
    return rate if on_device else params_in_loop(rate, dtype, impl)


def params_in_loop(rate: Rate | MaskParams, dtype: Any = None, impl: Any = None) -> MaskParams:
    """Return the parameters of any rate: those of a device rate are computed here, in the loop."""
    if isinstance(rate, MaskParams):
        return rate
    factor = None if dtype is None else scale(rate, product_dtype(dtype))
    if impl is not None:
        return MaskParams(None, None, factor, keep_probability(rate, None))
    return MaskParams(threshold(rate), all_dropped(rate), factor, None)


def is_kept(bits: jax.Array, params: Rate | MaskParams) -> jax.Array:
    """Compare random words with the rate's threshold."""
    params = params_in_loop(params)
    keep = bits >= with_rank(params.threshold, bits.ndim)
    return keep if params.drop_all is None else keep & ~with_rank(params.drop_all, keep.ndim)


def draw_mask(
    words: Any,
    base: Limbs,
    params: Rate | MaskParams,
    block: Block,
    sharding: Any = None,
    impl: Any = None,
) -> jax.Array:
    """Draw the block's mask from key words, or from key data with the key's own PRNG."""
    if impl is None:
        return is_kept(word_bits(words, base, block, sharding), params)
    prob = with_rank(params_in_loop(params, None, impl).keep_prob, len(block.shape))
    key = jax.random.wrap_key_data(words, impl=impl)
    drawn = jax.random.bernoulli(key, p=prob, shape=block.shape)
    return drawn if sharding is None else jax.sharding.reshard(drawn, sharding)


def mask_in_jit(
    key: Any,
    params: Rate | MaskParams,
    shape: tuple[int, ...],
    shared: Collection[int] = (),
    names: Names = (),
    of_shard: tuple[int, ...] | None = None,
) -> jax.Array:
    """``keep_mask`` inside a compiled function, to which a host rate is passed as its parameters.

    So the rate is exact and no part of the program: the cache of ``jax.jit`` grows with shapes,
    dtypes and static options, and not with rates, keys or calls. ``names`` are those of ``placed``,
    ``of_shard`` as in ``shard_layout``.
    """
    drawn = shared_shape(shape, shared)
    block, base = shard_layout(drawn, apart_from(names, shared), of_shard)
    return _keep_mask(key, base, params, block, shape, None)


@functools.partial(jax.jit, static_argnames=("block", "shape", "impl"), inline=True)
def _keep_mask(
    key: Any,
    base: Limbs,
    params: Rate | MaskParams,
    block: Block,
    shape: tuple[int, ...],
    impl: Any,
) -> jax.Array:
    return spread(draw_mask(mask_words(key, impl), base, params, block, None, impl), shape)
