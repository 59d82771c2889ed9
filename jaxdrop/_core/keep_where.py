"""keep_where: ``where(mask, x * factor, 0)``, written so that its loop runs at full speed on CPUs.

On a CPU, two things in the plain form cost as much as the mask itself. LLVM's loop loads x under
the mask, so that no load can start before the bits of its element are mixed; an integer minimum of
x's bits with all ones or zero is the same function and loads ahead. And XLA rounds a bfloat16
product with a branch for NaN; none is needed here, because neither x's own NaN nor one that a
product makes has anything in the low half to carry. ``scripts/bench forms`` measures both.

Other platforms keep the plain form, except in half precision, where ``small`` takes the place of
the zero. Bits have no derivative, hence the primitive; it is linear in x, and has its own tangent,
transpose and batching rule.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from jaxdrop._core.broadcast import batch_first
from jaxdrop._core.scale import product_dtype, scaled
from jaxdrop._core.varying import alike

_WORDS = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32, 8: jnp.uint64}


def keep_where(mask: jax.Array, x: jax.Array, factor: Any = None, small: Any = None) -> jax.Array:
    """Return ``where(mask, x * factor, 0)``.

    Args:
      mask: bool, of the shape of x.
      x: array.
      factor: scalar, or array of x's rank that broadcasts against it; None for 1. The product is
        taken in float32 at least and rounded once. No gradient flows to it.
      small: for x narrower than factor, a number that becomes 0 in x's dtype (``small_number``).
    """
    if factor is None:
        return _keep_p.bind(*alike(mask, x))
    factor = jnp.asarray(factor, product_dtype(x.dtype))
    if small is None or factor.dtype == x.dtype:
        return _keep_p.bind(*alike(mask, x, factor))
    return _keep_p.bind(*alike(mask, x, factor, small))


def small_number(words: jax.Array) -> jax.Array:
    """Return a float32 below 2**-134, which every narrower dtype rounds to 0, from random words.

    A compiler that knows the zero moves the rounding of a product before the choice between the
    two. GPUs round two numbers at once, unless they are chosen from one by one afterwards, which
    takes more instructions per element; ``scripts/prove gpu`` counts them.
    """
    return jax.lax.bitcast_convert_type(words[-1] >> np.uint32(17), jnp.float32)


def _select(mask: jax.Array, x: jax.Array, *numbers: jax.Array) -> jax.Array:
    if len(numbers) == 2:
        factor, small = numbers
        return jnp.where(mask, x.astype(factor.dtype) * factor, small).astype(x.dtype)
    return jnp.where(mask, scaled(x, numbers[0]) if numbers else x, jnp.zeros((), x.dtype))


def _minimum(mask: jax.Array, x: jax.Array, *numbers: jax.Array) -> jax.Array:
    if jnp.issubdtype(x.dtype, jnp.complexfloating):
        return _select(mask, x, *numbers)
    word = _WORDS[x.dtype.itemsize]
    ones = np.asarray(np.iinfo(word).max, word)
    top = jnp.where(mask, ones, np.asarray(0, word))
    bits = jnp.minimum(_product_bits(x, word, *numbers[:1]), top)
    return jax.lax.bitcast_convert_type(bits, x.dtype)


def _product_bits(x: jax.Array, word: Any, *factor: jax.Array) -> jax.Array:
    if not factor:
        return jax.lax.bitcast_convert_type(x, word)
    if x.dtype != jnp.bfloat16:
        return jax.lax.bitcast_convert_type(scaled(x, factor[0]), word)
    # A NaN of the factor, a rate's on the device, may have any bits; this one's low half is zero.
    plain = jnp.where(jnp.isnan(factor[0]), np.float32(np.nan), factor[0])
    bits = jax.lax.bitcast_convert_type(x.astype(jnp.float32) * plain, jnp.uint32)
    half, lowest = np.uint32(0x7FFF), (bits >> np.uint32(16)) & np.uint32(1)  # ties to even
    return ((bits + half + lowest) >> np.uint32(16)).astype(word)


def _tangent(primals: Any, tangents: Any) -> Any:
    mask, x, *numbers = primals
    t = tangents[1]
    kept = keep_where(mask, x, *numbers)
    return kept, t if type(t) is ad.Zero else keep_where(mask, t, *numbers)


def _transpose(ct: Any, mask: Any, x: Any, *numbers: Any) -> Any:
    ct = ad.Zero(x.aval) if type(ct) is ad.Zero else keep_where(mask, ct, *numbers)
    return None, ct, *(None for _ in numbers)


def _batch(args: Any, dims: Any) -> Any:
    size = next(a.shape[d] for a, d in zip(args, dims, strict=True) if d is not None)
    mask, x, *numbers = (
        # A scalar that the whole batch shares stays a scalar.
        a if i > 1 and d is None and not np.ndim(a) else batch_first(a, d, size)
        for i, (a, d) in enumerate(zip(args, dims, strict=True))
    )
    # A scalar per element of the batch gets x's new rank, as every factor that is not a scalar has.
    numbers = [n.reshape(n.shape + (1,) * (x.ndim - n.ndim)) if n.ndim else n for n in numbers]
    return keep_where(mask, x, *numbers), 0


def _without_jit() -> bool:
    """Whether jax.disable_jit() is on, under which the compiled form would call itself."""
    config: Any = jax.config  # jax adds its options when it is imported, undeclared
    return bool(config.jax_disable_jit)


_keep_p = Primitive("keep_where")
_compiled = jax.jit(_keep_p.bind)
_keep_p.def_impl(lambda *args: (_select if _without_jit() else _compiled)(*args))
_keep_p.def_abstract_eval(lambda mask, x, *numbers: x.update(weak_type=False))
ad.primitive_jvps[_keep_p] = _tangent
ad.primitive_transposes[_keep_p] = _transpose
batching.primitive_batchers[_keep_p] = _batch
mlir.register_lowering(_keep_p, mlir.lower_fun(_select, multiple_results=False))
mlir.register_lowering(_keep_p, mlir.lower_fun(_minimum, multiple_results=False), platform="cpu")
