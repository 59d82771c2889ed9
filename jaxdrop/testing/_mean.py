"""Assertion that a random layer preserves the mean of its input."""

import functools
import math
from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxdrop._core.checks import check_count, check_function, check_number, check_sequence
from jaxdrop._core.key import AnyKey, check_key, typed
from jaxdrop.testing._arguments import (
    check_key_first,
    check_nonzero,
    first_place,
    key_first,
    told,
)
from jaxdrop.testing._p_values import binomial_p_value, check_false_alarm, in_words
from jaxdrop.testing._traced import assert_on_host


def assert_mean_preserved(
    fn: Callable[[Any, Any], Any],
    key: AnyKey,
    x: Float[Array, "..."],
    *,
    num_samples: int = 1000,
    false_alarm: float = 1e-6,
    support: tuple[float, float] | None = None,
) -> None:
    """Assert that E[fn(key, x)] = x at every element, the mean being over keys.

    If dropout either zeroes an element or multiplies it by c, its mean is preserved if and only if
    it is kept with probability 1 / c. So c is read off the samples, and

    ``number of samples that keep the element ~ Binomial(num_samples, 1 / c)``

    is tested exactly. For other bounded noise give ``support``; then Hoeffding's inequality
    ``P(|mean - 1| >= t) <= 2 exp(-2 num_samples t**2 / (hi - lo)**2)`` is used instead. Either way
    the budget is shared evenly among the elements, which may depend on one another (shared masks,
    blocks); the samples must not. At a budget of p per element a bias of about
    ``sqrt(2 log(1 / p) (c - 1) / num_samples)`` times x is found.

    Args:
      fn: function of (key, x) that can be jitted and vmapped; its output has the shape of x.
      key: a random key; it is split into num_samples.
      x: floating array without zeros.
      num_samples: number of keys; all samples are held at once, in float64.
      false_alarm: probability of failing although the mean is right, in (0, 1).
      support: bounds (lo, hi) of y / x, where it takes more than the two values 0 and c.

    Raises:
      AssertionError: with the element that deviates most, and its probability.
      ValueError: if y / x takes more than two values at an element and no support is given.
      TypeError: if x comes before the key, here or in fn, or if something is traced and no
        chex.chexify is around.

    The factor c, and with it the law, is read off the samples. So a compiled function sends all of
    them to the host, which decides.

    Reference:
      Hoeffding, Probability Inequalities for Sums of Bounded Random Variables, 1963.

    >>> import jax, jax.numpy as jnp, jaxdrop
    >>> fn = lambda key, x: jaxdrop.dropout(key, x, 0.5)
    >>> assert_mean_preserved(fn, jax.random.key(0), jnp.linspace(1.0, 2.0, 100))
    """
    check_function(fn, "fn", "assert_mean_preserved takes a function of (key, x)")
    check_false_alarm(false_alarm)
    num_samples = check_count(num_samples, "num_samples", "how many keys")
    check_key_first(key, x, "assert_mean_preserved")
    key = typed(check_key(key, "assert_mean_preserved"))
    if support is not None:
        _check_support(support)
    x = check_nonzero(x, "assert_mean_preserved")
    with key_first(fn, x, "fn"):
        y = jax.jit(jax.vmap(fn, in_axes=(0, None)))(jax.random.split(key, num_samples), x)
    with told(AssertionError(f"y has shape {y.shape[1:]}, expected that of x, {x.shape}")):
        chex.assert_shape(y, (num_samples, *x.shape))
    judge = functools.partial(_judge, false_alarm=false_alarm, support=support)
    assert_on_host(judge, x, y, caller="assert_mean_preserved")


def _judge(x: np.ndarray, y: np.ndarray, false_alarm: float, support: Any) -> None:
    """Raise an AssertionError if samples y do not have the mean x."""
    eps = float(jnp.finfo(x.dtype).eps)
    budget = false_alarm / x.size
    noise = y.astype(np.float64).reshape(-1, x.size) / x.astype(np.float64).reshape(-1)
    mean = noise.mean(0)
    if support is None:
        p_values = _two_point(noise, eps)
    else:
        p_values = _bounded(noise, mean, eps, support)
    i = int(np.argmin(p_values))
    if p_values[i] <= budget:
        where = first_place(-p_values.reshape(x.shape))
        raise AssertionError(
            f"over {len(noise)} keys the mean of y / x is {mean[i]:.6g} at {where}, expected 1: "
            f"the probability of a deviation this large is {in_words(p_values[i])}, the limit "
            f"{budget:.2g} ({false_alarm=} shared among {x.size} elements)"
        )


def _check_support(support: Any) -> None:
    expected = "two finite numbers (lo, hi) with lo < hi"
    bounds = check_sequence(support, "support", expected)
    for bound in bounds:
        check_number(bound, "a bound in support", expected, math.isfinite, traced=False)
    if len(bounds) != 2 or not bounds[0] < bounds[1]:
        raise ValueError(f"got {support=}, expected {expected}")


def _two_point(noise: np.ndarray, eps: float) -> np.ndarray:
    kept = noise != 0
    factor = np.where(kept, noise, -np.inf).max(0)
    if (kept & (noise != factor)).any():
        raise ValueError(
            "y / x takes more than two values at one element, so its law is not that of dropout: "
            "give support=(lo, hi), bounds of y / x, to test it with Hoeffding's inequality"
        )
    # Where nothing is ever kept, or only with a factor that no probability brings to a mean of 1,
    # the mean is not preserved at any count.
    hopeless = ~kept.any(0) | (factor < 1 - eps)
    keep = 1 / np.where(hopeless, 1.0, np.maximum(factor, 1.0))
    # y is rounded, so 1 / c is known to eps: take the value that excuses the count most.
    nearest = np.clip(kept.mean(0), keep * (1 - eps), np.minimum(keep * (1 + eps), 1.0))
    return np.where(hopeless, 0.0, binomial_p_value(kept.sum(0), len(noise), nearest))


def _bounded(
    noise: np.ndarray, mean: np.ndarray, eps: float, support: tuple[float, float]
) -> np.ndarray:
    lo, hi = support
    slack = eps * max(abs(lo), abs(hi))
    if noise.min() < lo - slack or noise.max() > hi + slack:
        raise AssertionError(
            f"y / x lies between {noise.min():.6g} and {noise.max():.6g}, expected within "
            f"{support=}: the probability of leaving it is 0"
        )
    deviation = np.maximum(np.abs(mean - 1) - slack, 0)
    return np.minimum(1.0, 2 * np.exp(-2 * len(noise) * deviation**2 / (hi - lo) ** 2))
