"""What leaves something out of a computation, compared with masking it, forward and gradients.

Functions of (key, x, kernel), each under the same transforms.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Function = Callable[[Any, Any, Any], Any]


def in_vmap(f: Function) -> Function:
    def run(key: Any, x: Any, kernel: Any) -> Any:
        return jax.vmap(f, (0, 0, None))(
            jax.random.split(key, 3), jnp.stack([x, -x, 2 * x]), kernel
        )

    return run


def in_scan(f: Function, depth: int = 3) -> Function:
    """A stack of layers, each with a key of its own and computed again in the backward pass."""

    def run(key: Any, x: Any, kernel: Any) -> Any:
        def layer(x: Any, key: Any) -> Any:
            return jax.checkpoint(f)(key, x, kernel), None

        return jax.lax.scan(layer, x, jax.random.split(key, depth))[0]

    return run


def results(f: Function, x: Any, kernel: Any) -> Any:
    """The output, and the gradients of x and of what the computation closes over."""

    def loss(x: Any, kernel: Any) -> Any:
        y = f(jax.random.key(7), x, kernel)
        return (jnp.cos(jnp.arange(y.size)).reshape(y.shape).astype(y.dtype) * y).sum(), y

    return jax.jit(jax.grad(loss, (0, 1), has_aux=True))(x, kernel)


def assert_same(f: Function, g: Function, x: Any, kernel: Any, ulps: int) -> None:
    """To float error: some units in the last place, of the largest value."""
    for a, b in zip(*(jax.tree.leaves(results(h, x, kernel)) for h in (f, g)), strict=True):
        assert a.dtype == b.dtype == x.dtype and a.shape == b.shape
        eps = float(jnp.finfo(a.dtype).eps)
        a, b = np.asarray(a, np.float32), np.asarray(b, np.float32)
        assert abs(a - b).max() <= ulps * eps * abs(b).max()
