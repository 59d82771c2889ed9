"""standard_normal: Gaussian noise as a function of key and index, one word per element.

The quantile function is made of what every processor does for many elements at once: bit patterns,
a few multiply-adds, one square root and one division. The ``erf_inv`` of JAX takes a logarithm and
two polynomials of which it drops one; it stays for float64, whose accuracy it has.
"""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxdrop._bits import random_bits
from jaxdrop._dropout import AnyKey

# By scripts/normal_fit: log2(m) on [1, 2) as a polynomial, and the normal quantile of 2**-w as
# parabola plus pole, a0 + a1 r + a2 r**2 + b / (r + c), in r = sqrt(w + 0.07 or so).
_LOG2 = (-2.42701624, 4.03758746, -2.08700552, 0.630024749, -0.0791266707)
_POLE = (-1.76657411, 0.957273061)  # b, c
_PARABOLA = (-0.227629006, 1.19386878, -0.000638882388)
_ONE = 2.0**23  # what a float32's bit pattern grows by per octave


def standard_normal(
    key: AnyKey,
    shape: Sequence[int],
    dtype: Any = jnp.float32,
    *,
    index_offset: Sequence[Any] = (),
    global_shape: Sequence[int] | None = None,
) -> Float[Array, "..."]:
    """Draw standard normal numbers, each a function of the key and of its row-major index alone.

    ``s Q(p)``: the sign s is the word's first bit, p in (0, 1/2) the middle of the cell that the
    other bits name among 2**30 equal ones, Q(p) the number that a normal one exceeds with
    probability p

    Args:
      key: a random key of any implementation, or a legacy uint32 key.
      shape: shape of the result.
      dtype: a floating dtype; what is narrower than float32 is computed in float32 and rounded.
      index_offset, global_shape: as in ``random_bits``.

    Returns:
      Array of the given shape and dtype. The law is symmetric, so its mean is 0 exactly. Its tails
      end at 6.23 standard deviations. float32 numbers are within 6e-5 of the exact quantile, so
      that P(z <= a) is off by 2.4e-5 at most, and their variance is within 1e-6 of 1.
    """
    bits = random_bits(key, shape, index_offset=index_offset, global_shape=global_shape)
    return _of_words(bits, dtype)


def _of_words(bits: jax.Array, dtype: Any) -> jax.Array:
    # An odd number is the middle of a cell of two, and never 0.
    odd = (bits & np.uint32(0x7FFFFFFF)) | np.uint32(1)
    sign = bits & np.uint32(0x80000000)
    if jnp.dtype(dtype) == jnp.float64:
        size = np.sqrt(2.0) * jax.lax.erf_inv(1 - odd.astype(jnp.float64) * 2.0**-31)
        return jnp.where(sign == 0, size, -size)
    size = _quantile(odd)
    signed = jax.lax.bitcast_convert_type(size, jnp.uint32) ^ sign
    return jax.lax.bitcast_convert_type(signed, jnp.float32).astype(dtype)


def _quantile(odd: jax.Array) -> jax.Array:
    """Return Q(odd / 2**32) in float32, for uint32 below 2**31."""
    # CPUs convert signed integers; the unsigned ones cost them a detour.
    value = odd.astype(jnp.int32).astype(jnp.float32)
    pattern = jax.lax.bitcast_convert_type(value, jnp.uint32)
    mantissa = jax.lax.bitcast_convert_type(
        (pattern & np.uint32(0x7FFFFF)) | np.uint32(0x3F800000), jnp.float32
    )
    # The pattern is a logarithm already, linear between powers of two: 127 + log2 of the power
    # plus m - 1, times 2**23. What a polynomial has to add is the logarithm's bend.
    constant, first, *others = _LOG2
    top = np.uint32(round((32 + 127 - 1 - constant) * _ONE))
    linear = (top - pattern).astype(jnp.int32).astype(jnp.float32)
    bend = _polynomial(mantissa, [c * _ONE for c in (first - 1, *others)])
    root = jnp.sqrt(linear - mantissa * bend)  # sqrt(2**23) times too large, as are b and c below
    scale = math.sqrt(_ONE)
    above, shift = (np.float32(c * scale) for c in _POLE)
    return _polynomial(root, [c / scale**i for i, c in enumerate(_PARABOLA)]) + above / (
        root + shift
    )


def _polynomial(x: jax.Array, coefficients: Sequence[float]) -> jax.Array:
    """Horner's rule, the constant first."""
    *others, highest = (np.float32(c) for c in coefficients)
    total: Any = highest
    for c in reversed(others):
        total = total * x + c
    return total
