"""gaussian_dropout: multiply by normal noise."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact

from jaxdrop._core.annotations import AnyArray, Flag, MeshAxes, RateLike
from jaxdrop._core.broadcast import broadcast_like
from jaxdrop._core.checks import check_input
from jaxdrop._core.key import AnyKey
from jaxdrop._core.mesh import Names, placed
from jaxdrop._core.mode import choose, resolve
from jaxdrop._core.noise import noise_dtype, scaled_noise
from jaxdrop._core.rate import Rate, check_rate, check_rate_shape
from jaxdrop._core.scale import scaled


def gaussian_dropout(
    key: AnyKey | None,
    x: Inexact[AnyArray, "..."],
    rate: RateLike,
    *,
    deterministic: Flag = False,
    mesh_axes: MeshAxes = (),
) -> Inexact[Array, "..."]:
    """Multiply by normal noise of mean 1 that has the variance of dropout's mask.

    ``y = x * (1 + sqrt(rate / (1 - rate)) * z)``, z standard normal

    Args:
      key: a random key; may be None when deterministic is True or rate is 0 or 1.
      x: floating or complex array of any shape.
      rate: the rate of the dropout that it replaces, 0 <= rate <= 1; a number, a traced scalar, or
        an array that broadcasts against x.
      deterministic: True for test time; a bool, or a traced bool scalar.
      mesh_axes: inside ``shard_map``, the mesh axes that split x, as in ``dropout``.

    Returns:
      Array like x with E[y] = x and Var[y] = x**2 rate / (1 - rate), to a relative 1e-5 (the
      variance of z in float32). At rate 1, where the variance is infinite, y is 0 as in
      ``dropout``.

    Raises:
      ValueError: if a concrete rate is outside [0, 1], or key is None where noise is drawn.

    Not for: sparsity (no element is ever 0), or rates near 1 (half of the factors turn negative).

    Reference:
      Srivastava et al., Dropout: A Simple Way to Prevent Neural Networks from Overfitting, 2014,
      section 10.

    >>> import jax, jax.numpy as jnp, jaxdrop
    >>> y = jaxdrop.gaussian_dropout(jax.random.key(0), jnp.ones(100_000), 0.5)
    >>> f"{y.mean():.2f} {y.var():.1f}"
    '1.00 1.0'
    """
    x = check_input(x, "gaussian_dropout")
    names = placed(mesh_axes, key, x)
    checked = check_rate(rate)
    check_rate_shape(checked, x.shape)
    key, test_mode = resolve(key, checked, deterministic, "gaussian_dropout")
    if test_mode is True:
        return x
    if checked.always and test_mode is False:
        return jnp.zeros_like(x)
    return choose(test_mode, x, multiply_noise(key, x, *_center_and_std(checked), names))


# prevent_cse=False lets XLA fuse the recomputed noise into the backward loop.
@functools.partial(jax.jit, static_argnames="names", inline=True)
@functools.partial(jax.checkpoint, prevent_cse=False, static_argnums=4)
def multiply_noise(key: Any, x: jax.Array, center: Any, std: Any, names: Names) -> jax.Array:
    """``x (center + std z)``; the backward pass draws z again instead of storing it."""
    middle = broadcast_like(jnp.asarray(center, noise_dtype(x)), x)
    return scaled(x, scaled_noise(key, x, std, names) + middle)


def _center_and_std(rate: Rate) -> tuple[Any, Any]:
    """Mean and standard deviation of the factor; both 0 where the rate is 1."""
    xp = jnp if isinstance(rate.value, jax.Array) else np
    keep = 1 - xp.asarray(rate.value)
    some = keep > 0
    std = xp.where(some, xp.sqrt((1 - keep) / xp.where(some, keep, 1)), 0)
    return some, std
