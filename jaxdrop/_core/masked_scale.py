"""The masked product as one operation of JAX: linear in x, its mask drawn anew wherever it is used.

``masked_scale(x, words, law)`` is ``where(mask(words), x * factor, 0)``. Its derivative in x is
itself, so that differentiation keeps the words and never meets the mask: nothing of it is saved,
hoisted out of a loop over layers, or part of a checkpoint's policy. What a compiled program may not
do is to compute the mask once for both passes and keep it; the words of the backward pass therefore
go through a barrier.
"""

from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
from jax.experimental.jet import jet_rules
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from jaxdrop._core.bits import word_bits
from jaxdrop._core.index import Block, Limbs
from jaxdrop._core.keep_where import keep_where, small_number
from jaxdrop._core.rate import Rate, all_dropped, keep_probability, scale, threshold
from jaxdrop._core.scale import product_dtype
from jaxdrop._core.varying import alike


class Law(NamedTuple):
    """A rate as the loop needs it."""

    cut: Any  # words below are dropped
    full: Any  # where everything is dropped, or None for nowhere
    factor: Any  # what is kept is multiplied by it, or None
    prob: Any  # the keep probability of bits="key", or None


class Form(NamedTuple):
    """What is known of a call before tracing."""

    block: Block
    sharding: Any  # of x, with explicit mesh axes
    scaled: bool
    key_impl: Any  # of the key that bits="key" draws with; None for the fast generator
    tree: Any  # how base and law, the arguments after the words, are put together


def law_of(rate: Rate, dtype: Any, by_key: bool) -> Law:
    """Return the law of a rate; dtype None leaves what is kept as it is."""
    factor = None if dtype is None else scale(rate, product_dtype(dtype))
    if by_key:
        return Law(None, None, factor, keep_probability(rate, None))
    return Law(threshold(rate), all_dropped(rate), factor, None)


def host_law(rate: Rate, dtype: Any, by_key: bool) -> Law | Rate:
    """The law of a host rate, in float64; a device rate as it is, the one thing to be saved."""
    return rate if isinstance(rate.value, jax.Array) else law_of(rate, dtype, by_key)


def masked_scale(
    x: jax.Array,
    words: jax.Array,
    base: Limbs,
    law: Law | Rate,
    *,
    block: Block,
    scaled: bool,
    key_impl: Any = None,
) -> jax.Array:
    """Return ``where(mask, x * factor, 0)``, the mask drawn from words.

    Args:
      x: array.
      words: of the generator; with key_impl, the data of a key of that implementation.
      base, block: where the mask's array lies, by ``locate``.
      law: of the rate, or a rate on the device.
      scaled: False leaves what is kept as it is.
      key_impl: for bits="key".
    """
    leaves, tree = jax.tree.flatten((base, law))
    form = Form(block, named_sharding(x), scaled, key_impl, tree)
    return _drop_p.bind(*alike(x, words, *leaves), form=form, maps=(), again=False)


def draw_mask(
    words: Any,
    base: Limbs,
    law: Law,
    block: Block,
    sharding: Any = None,
    key_impl: Any = None,
) -> jax.Array:
    """Draw the mask: True where an element is kept."""
    if law.prob is not None:
        key = jax.random.wrap_key_data(words, impl=key_impl)
        prob = lift(law.prob, len(block.shape))
        drawn = jax.random.bernoulli(key, p=prob, shape=block.shape)
        return drawn if sharding is None else jax.sharding.reshard(drawn, sharding)
    bits = word_bits(words, base, block, sharding)
    keep = bits >= lift(law.cut, bits.ndim)
    return keep if law.full is None else keep & ~lift(law.full, keep.ndim)


def lift(value: Any, ndim: int) -> Any:
    """Give an array a rank, so that it broadcasts without rank promotion."""
    shape = jnp.shape(value)
    return value if not shape else value.reshape((1,) * (ndim - len(shape)) + shape)


def named_sharding(x: jax.Array) -> Any:
    """The sharding in x's type (explicit mesh axes), which the mask has to share; else None."""
    sharding = jax.typeof(x).sharding
    named = not sharding.mesh.empty and any(axis is not None for axis in sharding.spec)
    return sharding if named else None


def spread(mask: jax.Array, shape: tuple[int, ...], sharding: Any) -> jax.Array:
    """Repeat a mask over the dimensions that share its decisions."""
    if mask.shape == shape:
        return mask
    return jax.lax.broadcast_in_dim(mask, shape, tuple(range(len(shape))), out_sharding=sharding)


def _shrink(sharding: Any, drawn: tuple[int, ...], shape: tuple[int, ...]) -> Any:
    if sharding is None:
        return None
    spec = [a if n == m else None for a, n, m in zip(sharding.spec, drawn, shape, strict=True)]
    return sharding.update(spec=jax.sharding.PartitionSpec(*spec))


def _compute(x: Any, words: Any, *leaves: Any, form: Form, maps: Any, again: bool) -> jax.Array:
    if again:
        words = jax.lax.optimization_barrier(words)

    def one(x: Any, words: Any, *leaves: Any) -> jax.Array:
        base, law = jax.tree.unflatten(form.tree, leaves)
        if isinstance(law, Rate):
            law = law_of(law, x.dtype if form.scaled else None, form.key_impl is not None)
        sharding = _shrink(form.sharding, form.block.shape, x.shape)
        mask = draw_mask(words, base, law, form.block, sharding, form.key_impl)
        factor = None if law.factor is None else lift(law.factor, x.ndim)
        mask = spread(mask, x.shape, form.sharding)
        return keep_where(mask, x, factor, small_number(words))

    for dims in maps:
        one = jax.vmap(one, dims)
    return one(x, words, *leaves)


def _tangent(primals: Any, tangents: Any, **params: Any) -> Any:
    y, t = _drop_p.bind(*primals, **params), tangents[0]
    if type(t) is ad.Zero:
        return y, t
    return y, _drop_p.bind(*alike(t, *primals[1:]), **params)


def _taylor(primals: Any, series: Any, **params: Any) -> Any:
    x, *others = (_drop_p.bind(*alike(t, *primals[1:]), **params) for t in (primals[0], *series[0]))
    return x, others


def _transpose(ct: Any, x: Any, *others: Any, form: Form, maps: Any, again: bool) -> Any:
    if type(ct) is not ad.Zero:
        ct = _drop_p.bind(ct, *others, form=form, maps=maps, again=True)
    return ct, *(None for _ in others)


def _batch(args: Any, dims: Any, *, form: Form, maps: Any, again: bool) -> Any:
    x, *others = args
    size = next(a.shape[d] for a, d in zip(args, dims, strict=True) if d is not None)
    x = jnp.broadcast_to(x, (size, *x.shape)) if dims[0] is None else jnp.moveaxis(x, dims[0], 0)
    maps = (*maps, (0, *dims[1:]))
    return _drop_p.bind(*alike(x, *others), form=form, maps=maps, again=again), 0


_drop_p = Primitive("dropout")
_drop_p.def_impl(jax.jit(_compute, static_argnames=("form", "maps", "again")))
_drop_p.def_abstract_eval(lambda x, *others, **params: x.update(weak_type=False))
ad.primitive_jvps[_drop_p] = _tangent
ad.primitive_transposes[_drop_p] = _transpose
batching.primitive_batchers[_drop_p] = _batch
cast(dict[Any, Any], jet_rules)[_drop_p] = _taylor
mlir.register_lowering(_drop_p, mlir.lower_fun(_compute, multiple_results=False), inline=False)
