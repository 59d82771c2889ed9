"""The masked product as one JAX primitive: linear in x, its mask drawn again wherever it is used.

``masked_scale(x, words, params)`` is ``where(mask(words), x * factor, 0)``. Its derivative in x is
itself, so differentiation keeps the words and never sees the mask: the mask is not saved, not
hoisted out of a loop over layers, and no concern of a checkpoint's policy. A compiled program must
not compute it once for both passes and store it; the words of the backward pass therefore go
through a barrier.
"""

from typing import Any, NamedTuple, cast

import jax
from jax.experimental.jet import jet_rules
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from jaxdrop._core.broadcast import batch_first, named_sharding, shared_sharding, spread, with_rank
from jaxdrop._core.index import Block, Limbs
from jaxdrop._core.keep_where import keep_where, small_number
from jaxdrop._core.mask import MaskParams, draw_mask, params_in_loop
from jaxdrop._core.rate import Rate
from jaxdrop._core.varying import alike


class Form(NamedTuple):
    """What is known about a call before tracing."""

    block: Block
    sharding: Any  # of x, with explicit mesh axes
    scaled: bool
    impl: Any  # of the key that bits="key" draws with; None for the fast generator
    tree: Any  # the structure of base and params, the arguments after the words


def masked_scale(
    x: jax.Array,
    words: jax.Array,
    base: Limbs,
    params: Rate | MaskParams,
    *,
    block: Block,
    scaled: bool,
    impl: Any = None,
) -> jax.Array:
    """Return ``where(mask, x * factor, 0)``, the mask drawn from words.

    Args:
      x: array.
      words: of the generator; with impl, the data of a key of that implementation.
      base, block: where the mask's array lies, from ``mask_layout``.
      params: of the rate, from ``mask_params``.
      scaled: False leaves kept elements unscaled.
      impl: for bits="key".
    """
    leaves, tree = jax.tree.flatten((base, params))
    form = Form(block, named_sharding(x), scaled, impl, tree)
    return _drop_p.bind(*alike(x, words, *leaves), form=form, maps=(), again=False)


def _compute(x: Any, words: Any, *leaves: Any, form: Form, maps: Any, again: bool) -> jax.Array:
    if again:
        words = jax.lax.optimization_barrier(words)

    def one(x: Any, words: Any, *leaves: Any) -> jax.Array:
        base, rate = jax.tree.unflatten(form.tree, leaves)
        params = params_in_loop(rate, x.dtype if form.scaled else None, form.impl)
        sharding = shared_sharding(form.sharding, form.block.shape, x.shape)
        mask = draw_mask(words, base, params, form.block, sharding, form.impl)
        factor = with_rank(params.scale, x.ndim)
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
    maps = (*maps, (0, *dims[1:]))
    return _drop_p.bind(
        *alike(batch_first(x, dims[0], size), *others), form=form, maps=maps, again=again
    ), 0


_drop_p = Primitive("dropout")
_drop_p.def_impl(jax.jit(_compute, static_argnames=("form", "maps", "again")))
_drop_p.def_abstract_eval(lambda x, *others, **params: x.update(weak_type=False))
ad.primitive_jvps[_drop_p] = _tangent
ad.primitive_transposes[_drop_p] = _transpose
batching.primitive_batchers[_drop_p] = _batch
cast(dict[Any, Any], jet_rules)[_drop_p] = _taylor
mlir.register_lowering(_drop_p, mlir.lower_fun(_compute, multiple_results=False), inline=False)
