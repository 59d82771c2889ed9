"""Assertion that the backward pass uses the mask of the forward pass."""

from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxdrop._core.checks import check_function
from jaxdrop._core.key import AnyKey, check_key
from jaxdrop.testing._arguments import (
    check_key_first,
    check_nonzero,
    first_place,
    key_first,
    told,
)
from jaxdrop.testing._traced import assert_on_host


def assert_gradient_uses_mask(
    fn: Callable[[Any, Any], Any], key: AnyKey, x: Float[Array, "..."]
) -> None:
    """Assert that the gradient of an element-wise dropout is its own mask and scale.

    ``d sum(y) / dx = y / x``, hence 0 exactly where y is 0

    Args:
      fn: function of (key, x) whose output is x times a noise that does not depend on x.
      key: the random key; fn is called once with it, and differentiated.
      x: floating array without zeros, so that a zero in y means dropped.

    Raises:
      AssertionError: with the number of elements where mask or scale differ.
      ValueError: if fn drops nothing or everything, so that any mask would agree.
      TypeError: if x comes before the key, here or in fn, or if something is traced and no
        chex.chexify is around.

    Quotients are compared in float64. So a compiled function sends x, y and the gradient to the
    host, which decides.

    >>> import jax, jax.numpy as jnp, jaxdrop
    >>> fn = lambda key, x: jaxdrop.dropout(key, x, 0.5)
    >>> assert_gradient_uses_mask(fn, jax.random.key(0), jnp.linspace(1.0, 2.0, 100))
    """
    check_function(fn, "fn", "assert_gradient_uses_mask takes a function of (key, x)")
    check_key_first(key, x, "assert_gradient_uses_mask")
    x = check_nonzero(x, "assert_gradient_uses_mask")
    key = check_key(key, "assert_gradient_uses_mask")
    with key_first(fn, x, "fn"):
        y, vjp = jax.vjp(lambda v: fn(key, v), x)
    with told(AssertionError(f"y has shape {y.shape}, expected that of x, {x.shape}")):
        chex.assert_equal_shape([y, x])
    (gradient,) = vjp(jnp.ones_like(y))
    assert_on_host(_judge, x, y, gradient, caller="assert_gradient_uses_mask")


def _judge(x: np.ndarray, y: np.ndarray, gradient: np.ndarray) -> None:
    # y and the gradient are each rounded once, or twice if the factor itself was.
    limit = 2 * float(jnp.finfo(x.dtype).eps)
    dtype, (x, y, gradient) = x.dtype, (a.astype(np.float64) for a in (x, y, gradient))
    dropped = y == 0
    if dropped.all() or not dropped.any():
        raise ValueError(
            f"fn drops {int(dropped.sum())} of {x.size} elements, and with such a mask every "
            "gradient would pass; give a rate and an x with which some are dropped and some kept"
        )
    differ = dropped != (gradient == 0)
    if differ.any():
        raise AssertionError(
            f"y drops {int(dropped.sum())} of {x.size} elements and the gradient is 0 at "
            f"{int((gradient == 0).sum())}, but {int(differ.sum())} elements are dropped in one "
            f"of them only, the first at {first_place(differ)}; expected none, and with one mask "
            "for both the probability of any is 0"
        )
    noise = y / x
    error = np.abs(gradient - noise) / np.where(dropped, 1.0, np.abs(noise))
    if error.max() > limit:
        i = first_place(error)
        raise AssertionError(
            f"the gradient is {gradient[i]:.6g} at {i} where y / x is "
            f"{noise[i]:.6g}, a relative difference of {error[i]:.2g}; expected at most the "
            f"rounding of {dtype}, {limit:.2g}, and with one scale for both the probability of "
            "more is 0"
        )
