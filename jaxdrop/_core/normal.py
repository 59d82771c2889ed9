"""standard_normal: Gaussian noise as a function of key and index, one word per element.

The quantile function uses only what every processor does for many elements at once: bit patterns,
a few multiply-adds, one square root. JAX's ``erf_inv`` computes a logarithm and two polynomials and
discards one of them; it is used for float64, whose accuracy it has. Every operation counts: with
one more in the loop of ``gaussian_dropout``, LLVM no longer unrolls it on a CPU.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxdrop._core.annotations import MeshAxes
from jaxdrop._core.bits import random_bits
from jaxdrop._core.key import AnyKey

# By scripts/normal_fit: log2(m) on [1, 2) and a shift as a cubic in m; the square of z / u as a
# quartic without a cubic term, constant first, and the root of its leading coefficient.
_LOG2 = (11.6923954, 3.03269725, -1.04190609, 0.15614586)
_QUARTIC = (226016.967, 17076.3167, -29.9711418)
_SCALE = 0.00873162615
_ONE = 2.0**23  # what a float32's bit pattern grows by per octave
_UNIT = 2.0**-31 * (1 - 2.0**-24)  # so that u is never 1


def standard_normal(
    key: AnyKey,
    shape: Sequence[int],
    dtype: Any = jnp.float32,
    *,
    index_offset: Sequence[Any] = (),
    global_shape: Sequence[int] | None = None,
    mesh_axes: MeshAxes = (),
) -> Float[Array, "..."]:
    """Draw standard normal numbers, each a function of the key and of its row-major index alone.

    ``Q(1/2 + u / 2)``: u is the word as a signed integer, divided by 2**31, Q the quantile function
    of the standard normal distribution

    Args:
      key: a random key of any implementation, or a legacy uint32 key.
      shape: shape of the result.
      dtype: a floating dtype; what is narrower than float32 is computed in float32 and rounded.
      index_offset, global_shape, mesh_axes: as in ``random_bits``.

    Returns:
      Array of the given shape and dtype. In float32, P(z <= a) is off by 8e-5 at most, the mean by
      1e-8 and the variance by 1e-5. A number is within 0.002 of the exact quantile, and within 0.04
      beyond 3; the tails end at 5.4 standard deviations, where u is rounded.
    """
    bits = random_bits(
        key, shape, index_offset=index_offset, global_shape=global_shape, mesh_axes=mesh_axes
    )
    wide = jnp.float64 if jnp.dtype(dtype) == jnp.float64 else jnp.float32
    return (_of_words(bits, wide) * narrow_scale(wide)).astype(dtype)


def narrow_normal(
    key: AnyKey, shape: Sequence[int], dtype: Any, mesh_axes: MeshAxes = ()
) -> Float[Array, "..."]:
    """Draw ``standard_normal`` divided by ``narrow_scale(dtype)``, in float32 or float64.

    A caller that multiplies the noise by a number anyway multiplies that number by
    ``narrow_scale`` first, which saves an operation per element.
    """
    return _of_words(random_bits(key, shape, mesh_axes=mesh_axes), dtype)


def narrow_scale(dtype: Any) -> Any:
    """Return the standard deviation of a standard normal number over that of a narrow one."""
    return np.float64(np.sqrt(2.0)) if dtype == jnp.float64 else np.float32(_SCALE / _ONE**2)


# Compiled as a whole, eager calls give what compiled ones do.
@functools.partial(jax.jit, static_argnames="dtype", inline=True)
def _of_words(bits: jax.Array, dtype: Any) -> jax.Array:
    signed = bits.astype(jnp.int32)
    if dtype == jnp.float64:
        return jax.lax.erf_inv((signed.astype(jnp.float64) + 0.5) * 2.0**-31)
    u = signed.astype(jnp.float32) * np.float32(_UNIT)
    t = 1 - u * u
    pattern = jax.lax.bitcast_convert_type(t, jnp.uint32)
    # Below 1 the exponent's bits are a subset of those of 1, so this leaves a mantissa in [1, 2).
    one = np.uint32(0x3F800000)
    mantissa = jax.lax.bitcast_convert_type(pattern | one, jnp.float32)
    # The pattern is a logarithm already, linear between powers of two: 127 + log2 of the power
    # plus m - 1, times 2**23. The polynomial only has to add the logarithm's bend.
    constant, first, *others = _LOG2
    top = np.uint32(int(one) - round((1 + constant) * _ONE))
    linear = (top - pattern).astype(jnp.int32).astype(jnp.float32)
    bend = _polynomial(mantissa, [c * _ONE for c in (first - 1, *others)])
    w = linear - mantissa * bend  # times 2**23, as are the coefficients below, each to its power
    square, *rest = (c * _ONE**p for c, p in zip(reversed(_QUARTIC), (2, 3, 4), strict=True))
    quartic = w * w + np.float32(square)
    for c in rest:
        quartic = quartic * w + np.float32(c)
    return u * jnp.sqrt(quartic)


def _polynomial(x: jax.Array, coefficients: Sequence[float]) -> jax.Array:
    """Horner's rule, the constant first."""
    *others, highest = (np.float32(c) for c in coefficients)
    total: Any = highest
    for c in reversed(others):
        total = total * x + c
    return total
