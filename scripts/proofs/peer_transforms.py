"""Case of ``scripts/prove peers``: under which transforms the gradient has the forward mask."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from scripts.proofs.peer_drops import Drop, key

Apply = Callable[[jax.Array], jax.Array]


def transforms(drop: Drop) -> str:
    """Name the transforms that differentiate with another mask than that of their output."""
    x = jnp.ones((4, 8))

    def f(x: jax.Array) -> jax.Array:
        return drop(key(), x)

    wrong = [
        name
        for name, slope in SLOPES.items()
        # Under vmap every row is an array of its own, with the mask of its own shape.
        if not np.array_equal(slope(f, x) != 0, (jax.vmap(f) if "vmap" in name else f)(x) != 0)
    ]
    return "the forward mask" if not wrong else f"another mask under {', '.join(wrong)}"


def _grad(lift: Callable[[Apply], Apply]) -> Callable[[Apply, jax.Array], Any]:
    return lambda f, x: jax.grad(lambda x: lift(f)(x).sum())(x)


def _jvp(f: Apply, x: jax.Array) -> jax.Array:
    return jax.jvp(f, (x,), (jnp.ones_like(x),))[1]


def _scanned(f: Apply) -> Apply:
    return lambda x: jax.lax.scan(lambda c, _: (c, f(c)), x, None, length=2)[1][0]


def _while(f: Apply) -> Apply:
    return lambda x: jax.lax.while_loop(lambda c: c[0] < 1, lambda c: (c[0] + 1, f(c[1])), (0, x))[
        1
    ]


def _conditional(f: Apply) -> Apply:
    return lambda x: jax.lax.cond(x[0, 0] > 0, f, jnp.zeros_like, x)


def _diagonal(jacobian: Any) -> Callable[[Apply, jax.Array], Any]:
    return lambda f, x: jnp.diag(jacobian(f)(x).reshape(x.size, x.size)).reshape(x.shape)


def _half_square(f: Apply) -> Callable[[jax.Array], jax.Array]:
    return lambda x: 0.5 * (f(x) ** 2).sum()


# What each gives is 0 exactly where the gradient's mask is.
SLOPES: dict[str, Callable[[Apply, jax.Array], Any]] = {
    "grad": _grad(lambda f: f),
    "jit": _grad(jax.jit),
    "remat": _grad(jax.checkpoint),
    "grad of vmap": _grad(jax.vmap),
    "scan": _grad(_scanned),
    "cond": _grad(_conditional),
    "while_loop": lambda f, x: _jvp(_while(f), x),
    "jvp": _jvp,
    "vjp": lambda f, x: jax.vjp(f, x)[1](jnp.ones_like(x))[0],
    "jacfwd": _diagonal(jax.jacfwd),
    "jacrev": _diagonal(jax.jacrev),
    "hessian": _diagonal(lambda f: jax.hessian(_half_square(f))),
    "linearize": lambda f, x: jax.linearize(f, x)[1](jnp.ones_like(x)),
    "linear_transpose": lambda f, x: jax.linear_transpose(f, x)(jnp.ones_like(x))[0],
    "vmap of grad": lambda f, x: jax.vmap(jax.grad(lambda row: f(row).sum()))(x),
}
