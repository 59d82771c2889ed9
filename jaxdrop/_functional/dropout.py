"""keep_mask and dropout: compare random words with a threshold, keep and scale the rest."""

import functools
from collections.abc import Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax.experimental.jet import JetTracer
from jaxtyping import Array, Bool, Inexact

from jaxdrop._core.checks import (
    check_choice,
    check_deterministic,
    check_dims,
    check_input,
    check_shape,
)
from jaxdrop._core.index import Block, Limbs, check_offsets, locate
from jaxdrop._core.key import AnyKey, check_key, key_data, key_words, typed
from jaxdrop._core.masked_scale import Law, draw_mask, host_law, law_of, lift, masked_scale, spread
from jaxdrop._core.rate import Rate, check_rate, check_rate_shape, keep_probability
from jaxdrop._core.scale import product_dtype, scaled

ScaleAt = Literal["train", "test"]
Bits = Literal["fast", "key"]


def keep_mask(
    key: AnyKey,
    shape: Sequence[int],
    rate: Any,
    *,
    broadcast_dims: Sequence[int] = (),
    bits: Bits = "fast",
    index_offset: Sequence[Any] = (),
    global_shape: Sequence[int] | None = None,
) -> Bool[Array, "..."]:
    """Draw the mask that ``dropout`` uses: True where an element is kept.

    ``mask[i] = random_bits(key, shape)[i] >= rate * 2**32``

    Args:
      key: a random key of any implementation, or a legacy uint32 key of 2 or 4 words.
      shape: shape of the array to be masked.
      rate: probability of dropping, as in ``dropout``.
      broadcast_dims: dimensions along which one decision is shared.
      bits: "fast", or "key" for the draw that ``flax.linen.Dropout`` makes.
      index_offset, global_shape: as in ``random_bits``; with bits="fast" only.

    Returns:
      bool array of the given shape with P(False) = rate, exact to 2**-32 for a concrete rate.

    Raises:
      TypeError, ValueError: with what was given and what is expected.

    >>> import jax, jaxdrop
    >>> jaxdrop.keep_mask(jax.random.key(0), (2, 4), 0.5, broadcast_dims=(0,)).shape
    (2, 4)
    """
    key, shape = check_key(key, "keep_mask"), check_shape(shape)
    drawn, block, base = _plan(shape, broadcast_dims, bits, index_offset, global_shape)
    checked = check_rate(rate)
    check_rate_shape(checked, drawn)
    if checked.never or checked.always:
        return jnp.full(shape, checked.never)
    impl = _impl_of(key, bits)
    law = host_law(checked, None, impl is not None)
    return _keep_mask(key, base, law, block, shape, impl)


def dropout(
    key: AnyKey | None,
    x: Inexact[Array, "..."],
    rate: Any,
    *,
    broadcast_dims: Sequence[int] = (),
    deterministic: Any = False,
    scale_at: ScaleAt = "train",
    bits: Bits = "fast",
    index_offset: Sequence[Any] = (),
    global_shape: Sequence[int] | None = None,
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
        dimension. Needed inside ``shard_map`` and for microbatches: without it every shard or
        microbatch that is given the same key has the same mask.
      global_shape: shape of the whole array of which x is a block.

    Returns:
      Array like x, in its dtype. With scale_at="train", E[y] = x and
      Var[y] = x**2 rate / (1 - rate), for all members of the family that drop and scale. A dropped
      NaN or infinity is 0, and so is its gradient.

    Not for: the input of a batch normalisation, which stores the variance of training, dropout's
    included; images and the maps of convolutions, where a neighbour tells the value of what was
    dropped (``spatial_dropout``, ``drop_block``).

    Raises:
      TypeError, ValueError: with what was given and what is expected.

    Reference:
      Srivastava et al., Dropout: A Simple Way to Prevent Neural Networks from Overfitting, 2014.

    >>> import jax, jax.numpy as jnp, jaxdrop
    >>> y = jaxdrop.dropout(jax.random.key(0), jnp.ones((2, 4)), 0.5)
    >>> sorted(set(y.ravel().tolist()))
    [0.0, 2.0]
    """
    x = check_input(x, "dropout")
    check_choice(scale_at, "scale_at", ("train", "test"))
    drawn, block, base = _plan(x.shape, broadcast_dims, bits, index_offset, global_shape)
    checked = check_rate(rate)
    check_rate_shape(checked, drawn)
    test_mode = check_deterministic(deterministic)
    if checked.never:
        return x

    def at_test() -> jax.Array:
        if scale_at == "train":
            return x
        return scaled(x, lift(keep_probability(checked, product_dtype(x.dtype)), x.ndim))

    if test_mode is True:
        return at_test()
    if checked.always and test_mode is False:
        return jnp.zeros_like(x)
    key = check_key(key, "dropout")
    impl, in_training = _impl_of(key, bits), scale_at == "train"
    law = host_law(checked, x.dtype if in_training else None, impl is not None)
    # jet has no rule for what is done with a key, and looks for one in a compiled function.
    drop = _drop if isinstance(x, JetTracer) else _compiled_drop
    y = drop(key, x, base, law, in_training, block, impl)
    return y if test_mode is False else jnp.where(test_mode, at_test(), y)


def mask_of(
    key: Any, law: Law | Rate, shape: tuple[int, ...], shared: Sequence[int] = ()
) -> jax.Array:
    """``keep_mask`` inside of a compiled function, which a host rate enters as its law.

    So it is exact, and programs do not differ by it: the cache of ``jax.jit`` grows with shapes,
    dtypes and static options, and not with rates, keys or calls.
    """
    drawn = tuple(1 if d in shared else n for d, n in enumerate(shape))
    block, base = locate(drawn, (), None)
    return _keep_mask(key, base, law, block, shape, None)


def _drop(
    key: Any,
    x: jax.Array,
    base: Limbs,
    law: Law | Rate,
    in_training: bool,
    block: Block,
    impl: Any,
) -> jax.Array:
    words = key_words(key) if impl is None else key_data(key)
    return masked_scale(x, words, base, law, block=block, scaled=in_training, key_impl=impl)


_compiled_drop = jax.jit(_drop, static_argnames=("in_training", "block", "impl"), inline=True)


@functools.partial(jax.jit, static_argnames=("block", "shape", "impl"), inline=True)
def _keep_mask(
    key: Any,
    base: Limbs,
    law: Law | Rate,
    block: Block,
    shape: tuple[int, ...],
    impl: Any,
) -> jax.Array:
    if isinstance(law, Rate):
        law = law_of(law, None, impl is not None)
    words = key_words(key) if impl is None else key_data(key)
    return spread(draw_mask(words, base, law, block, None, impl), shape, None)


def _impl_of(key: Any, bits: str) -> Any:
    """The implementation of the key that bits="key" draws with; None for the fast generator."""
    if bits == "fast":
        return None
    return jax.random.key_impl(typed(key))


def _plan(
    shape: tuple[int, ...],
    broadcast_dims: Sequence[int],
    bits: str,
    index_offset: Sequence[Any],
    global_shape: Sequence[int] | None,
) -> tuple[tuple[int, ...], Block, Limbs]:
    """Check the static arguments; return the shape that is drawn and where it lies."""
    check_choice(bits, "bits", ("fast", "key"))
    offsets = check_offsets(index_offset)
    if bits == "key" and (offsets or global_shape is not None):
        raise ValueError(
            f"got index_offset={offsets!r} and {global_shape=} with bits='key', which draws with "
            "the key's own PRNG and knows no index: leave index_offset and global_shape out, or "
            "use bits='fast'"
        )
    shared = check_dims(broadcast_dims, len(shape))
    if not shared:
        return shape, *locate(shape, offsets, global_shape)
    drawn = tuple(1 if d in shared else n for d, n in enumerate(shape))
    if len(offsets) <= len(shape):
        offsets = tuple(0 if d in shared else o for d, o in enumerate(offsets))
    if global_shape is not None:
        whole = check_shape(global_shape, "global_shape")
        if len(whole) == len(shape):
            global_shape = tuple(1 if d in shared else n for d, n in enumerate(whole))
    return drawn, *locate(drawn, offsets, global_shape)
