"""Gaussian relatives of dropout: multiplicative and additive normal noise."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Inexact

from jaxdrop._core.broadcast import follow
from jaxdrop._core.checks import check_broadcast, check_input, check_real_input, check_real_values
from jaxdrop._core.key import AnyKey
from jaxdrop._core.mode import choose, resolve
from jaxdrop._core.normal import narrow_normal, spread
from jaxdrop._core.rate import Rate, check_rate, check_rate_shape
from jaxdrop._core.scale import scaled


def gaussian_dropout(
    key: AnyKey | None,
    x: Inexact[Array, "..."],
    rate: Any,
    *,
    deterministic: Any = False,
) -> Inexact[Array, "..."]:
    """Multiply by normal noise of mean 1 that has the variance of dropout's mask.

    ``y = x * (1 + sqrt(rate / (1 - rate)) * z)``, z standard normal

    Args:
      key: a random key; may be None when deterministic is True or rate is 0.
      x: floating or complex array of any shape.
      rate: the rate of the dropout that it takes the place of, 0 <= rate <= 1; a number, a traced
        scalar, or an array that broadcasts against x.
      deterministic: True for test time; a bool, or a traced bool scalar.

    Returns:
      Array like x with E[y] = x and Var[y] = x**2 rate / (1 - rate), to within 1e-5 of itself (the
      variance of z in float32). At rate 1, where the variance has no bound, y is 0 as in
      ``dropout``.

    Raises:
      TypeError, ValueError: with what was given and what is expected.

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
    checked = check_rate(rate)
    check_rate_shape(checked, x.shape)
    key, test_mode = resolve(key, checked, deterministic, "gaussian_dropout")
    if test_mode is True:
        return x
    if checked.always and test_mode is False:
        return jnp.zeros_like(x)
    return choose(test_mode, x, multiply_noise(key, x, *_center_and_std(checked)))


def gaussian_noise(
    key: AnyKey | None,
    x: Float[Array, "..."],
    stddev: Any,
    *,
    deterministic: Any = False,
) -> Float[Array, "..."]:
    """Add normal noise.

    ``y = x + stddev * z``, z standard normal

    Args:
      key: a random key; may be None when deterministic is True or stddev is 0.
      x: floating array of any shape.
      stddev: standard deviation of the noise, 0 or more and finite; a number, a traced scalar, or
        an array that broadcasts against x. A traced one below 0 counts as 0. No gradient flows to
        it.
      deterministic: True for test time; a bool, or a traced bool scalar.

    Returns:
      Array like x with E[y] = x and Var[y] = stddev**2, to within 1e-5 of itself.

    Raises:
      TypeError, ValueError: with what was given and what is expected.

    Not for: layers whose scale is free: the network grows its activations until the noise is
    small. ``gaussian_dropout`` follows the scale.

    Reference:
      Bishop, Training with Noise is Equivalent to Tikhonov Regularization, 1995.

    >>> import jax, jax.numpy as jnp, jaxdrop
    >>> y = jaxdrop.gaussian_noise(jax.random.key(0), jnp.ones(100_000), 0.1)
    >>> f"{y.mean():.2f} {y.std():.2f}"
    '1.00 0.10'
    """
    way_out = "so add noise to real and imaginary part, each with a key of its own"
    x = check_real_input(x, "gaussian_noise", "x", way_out)
    spread = _check_stddev(stddev)
    check_broadcast(np.shape(spread.value), x.shape, "stddev", f"x of shape {x.shape}")
    key, test_mode = resolve(key, spread, deterministic, "gaussian_noise")
    if test_mode is True:
        return x
    return choose(test_mode, x, _add(key, x, spread.value))


# prevent_cse=False lets XLA fuse the recomputed noise into the backward loop.
@functools.partial(jax.jit, inline=True)
@functools.partial(jax.checkpoint, prevent_cse=False)
def multiply_noise(key: Any, x: jax.Array, center: Any, std: Any) -> jax.Array:
    """``x (center + std z)``; the backward pass draws z again instead of storing it."""
    middle = follow(jnp.asarray(center, noise_dtype(x)), x)
    return scaled(x, _noise(key, x, std) + middle)


@functools.partial(jax.jit, inline=True)
def _add(key: Any, x: jax.Array, stddev: Any) -> jax.Array:
    noise = _noise(key, x, stddev)
    return (x.astype(noise.dtype) + noise).astype(x.dtype)


def _noise(key: Any, x: jax.Array, std: Any) -> jax.Array:
    """``std z`` for every element of x."""
    wide = noise_dtype(x)
    factor = jnp.asarray(std, wide) * spread(wide)
    return follow(narrow_normal(key, x.shape, wide), x) * follow(factor, x)


def noise_dtype(x: jax.Array) -> Any:
    """The dtype of the noise: float32, or float64 where x has it."""
    return jnp.float64 if jnp.finfo(x.dtype).bits == 64 else jnp.float32


def _center_and_std(rate: Rate) -> tuple[Any, Any]:
    """Mean and standard deviation of the factor; both 0 where the rate is 1."""
    xp = jnp if isinstance(rate.value, jax.Array) else np
    keep = 1 - xp.asarray(rate.value)
    some = keep > 0
    std = xp.where(some, xp.sqrt((1 - keep) / xp.where(some, keep, 1)), 0)
    return some, std


def _check_stddev(stddev: Any) -> Rate:
    """A standard deviation is checked like a rate, save that it may exceed 1."""
    expected = "expected a finite stddev >= 0"
    host = check_real_values(stddev, "stddev", expected)
    if host is None:
        return Rate(jnp.maximum(jax.lax.stop_gradient(stddev), 0))
    bad = host[~((host >= 0) & np.isfinite(host))]
    if bad.size:
        raise ValueError(f"got stddev={float(bad.flat[0])!r}; {expected}")
    return Rate(float(host) if host.ndim == 0 else host)
