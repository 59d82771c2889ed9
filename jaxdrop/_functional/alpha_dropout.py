"""alpha_dropout: dropout that preserves mean and variance under SELU."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxdrop._core.annotations import AnyArray, Flag, MeshAxes, RateLike
from jaxdrop._core.broadcast import broadcast_like, shared_shape
from jaxdrop._core.checks import check_dims, check_real_input
from jaxdrop._core.keep_where import keep_where
from jaxdrop._core.key import AnyKey
from jaxdrop._core.mask import mask_in_jit, mask_params
from jaxdrop._core.mesh import Names, placed
from jaxdrop._core.mode import choose, resolve
from jaxdrop._core.rate import Rate, check_rate, check_rate_shape
from jaxdrop._core.scale import product_dtype

_SELU_ALPHA = 1.6732632423543772848170429916717
_SELU_SCALE = 1.0507009873554804934193349852946
SATURATION = -_SELU_ALPHA * _SELU_SCALE
"""What SELU tends to for very negative input, about -1.7581."""
NO_COMPLEX = "since SELU has no complex form"


def alpha_dropout(
    key: AnyKey | None,
    x: Float[AnyArray, "..."],
    rate: RateLike,
    *,
    broadcast_dims: Sequence[int] = (),
    deterministic: Flag = False,
    mesh_axes: MeshAxes = (),
) -> Float[Array, "..."]:
    """Set elements to SELU's negative saturation, then restore mean 0 and variance 1.

    ``y = a * where(m, x, s) + b`` with ``s = -1.7581``, ``P(m = 0) = rate``,
    ``a = ((1 - rate) (1 + rate s**2))**-0.5`` and ``b = -a rate s``

    Args:
      key: a random key; may be None when deterministic is True or rate is 0 or 1.
      x: floating array of any shape.
      rate: probability of dropping, 0 <= rate <= 1; a number, a traced scalar, or an array that
        broadcasts against x.
      broadcast_dims: dimensions along which one decision is shared.
      deterministic: True for test time; a bool, or a traced bool scalar.
      mesh_axes: inside ``shard_map``, the mesh axes that split x, as in ``dropout``.

    Returns:
      Array like x. If x has mean 0 and variance 1, so has y. E[y] = x holds on that average and not
      for a fixed x: given x, E[y] = a (1 - rate) (x - s) + a s + b. Dropped elements are
      ``a (1 - rate) s``, not 0; towards rate 1 that tends to 0, and at rate 1 all of y is 0.

    Raises:
      TypeError: if x is not a real floating array.
      ValueError: as ``dropout``.

    Not for: networks with ReLU or any activation other than SELU, whose activations do not have
    mean 0 and variance 1.

    Reference:
      Klambauer et al., Self-Normalizing Neural Networks, 2017.

    >>> import jax, jax.numpy as jnp, jaxdrop
    >>> x = jnp.tile(jnp.array([-1.0, 1.0]), 50_000)
    >>> y = jaxdrop.alpha_dropout(jax.random.key(0), x, 0.2)
    >>> f"{abs(y.mean()):.1f} {y.std():.1f}"
    '0.0 1.0'
    """
    x = check_real_input(x, "alpha_dropout", "x", NO_COMPLEX)
    shared = check_dims(broadcast_dims, x.ndim)
    return drop_to_saturation(key, x, rate, shared, deterministic, mesh_axes, "alpha_dropout")


def drop_to_saturation(
    key: Any,
    x: jax.Array,
    rate: RateLike,
    shared: set[int],
    deterministic: Any,
    mesh_axes: MeshAxes,
    caller: str,
) -> jax.Array:
    names = placed(mesh_axes, key, x)
    checked = check_rate(rate)
    check_rate_shape(checked, shared_shape(x.shape, shared))
    key, test_mode = resolve(key, checked, deterministic, caller)
    if test_mode is True:
        return x
    if checked.always and test_mode is False:
        return jnp.zeros_like(x)
    params = mask_params(checked)
    constants = _affine(checked, product_dtype(x.dtype))
    y = _saturate(key, x, params, constants, tuple(sorted(shared)), names)
    return choose(test_mode, x, y)


@functools.partial(jax.jit, static_argnames=("shared", "names"), inline=True)
def _saturate(
    key: Any,
    x: jax.Array,
    params: Any,
    constants: tuple[Any, Any, Any],
    shared: tuple[int, ...],
    names: Names,
) -> jax.Array:
    @functools.partial(jax.checkpoint, prevent_cse=False)
    def masked(key: Any, x: jax.Array, params: Any, a: Any, b: Any, dropped: Any) -> jax.Array:
        a, b, dropped = (broadcast_like(c, x) for c in (a, b, dropped))
        keep = broadcast_like(mask_in_jit(key, params, x.shape, shared, names), x)
        wide = keep_where(keep, x.astype(a.dtype), a) + jnp.where(keep, b, dropped)
        return wide.astype(x.dtype)

    return masked(key, x, params, *constants)


def _affine(rate: Rate, dtype: Any) -> tuple[Any, Any, Any]:
    """Return a, b and the value of dropped elements, all in dtype; zeros where the rate is 1."""
    xp = jnp if isinstance(rate.value, jax.Array) else np
    drop = xp.asarray(rate.value)
    keep = 1 - drop
    some = keep > 0
    a = xp.where(some, 1 / xp.sqrt(xp.where(some, keep, 1) * (1 + drop * SATURATION**2)), 0)
    b = -a * drop * SATURATION
    return a.astype(dtype), b.astype(dtype), (a * keep * SATURATION).astype(dtype)
