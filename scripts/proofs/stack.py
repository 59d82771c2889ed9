"""The programs that are compiled: a stack of layers, a block, one call; with dropout or without."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

import jaxdrop

try:
    from flax import linen
except ModuleNotFoundError:  # a GPU machine that has jax alone: its figures go without flax's
    linen = None  # type: ignore[assignment]

RATE = 0.1
LAYERS = 8
Drop = Callable[[jax.Array, jax.Array], jax.Array]


def _flax(key: jax.Array, x: jax.Array) -> Any:
    return linen.Dropout(RATE, deterministic=False).apply({}, x, rng=key)


DROPS: dict[str, Drop] = {
    "none": lambda key, x: x,
    "jaxdrop": lambda key, x: jaxdrop.dropout(key, x, RATE),
}
if linen is not None:
    DROPS |= {"flax": _flax, "flax, checkpoint": jax.checkpoint(_flax)}


def stack(drop: Drop, scanned: bool) -> Callable[..., Any]:
    """Return value_and_grad of eight layers of matmul, gelu and dropout: (ws, x, key) -> ..."""

    def layer(h: jax.Array, w: jax.Array, i: Any, key: jax.Array) -> jax.Array:
        return drop(jax.random.fold_in(key, i), jax.nn.gelu(h @ w))

    def loss(ws: jax.Array, x: jax.Array, key: jax.Array) -> jax.Array:
        if scanned:
            step = lambda h, wi: (layer(h, wi[0], wi[1], key), None)  # noqa: E731 (one line)
            x = jax.lax.scan(step, x, (ws, jnp.arange(LAYERS)))[0]
        else:
            for i in range(LAYERS):
                x = layer(x, ws[i], i, key)
        return x.astype(jnp.float32).sum()

    return jax.value_and_grad(loss)


def stack_arguments(rows: int, width: int, dtype: Any) -> tuple[Any, ...]:
    return (
        jax.ShapeDtypeStruct((LAYERS, width, width), dtype),
        jax.ShapeDtypeStruct((rows, width), dtype),
        abstract_key(),
    )


def block(drop: Drop) -> Callable[..., Any]:
    """Return bias, gelu, dropout and residual: (key, x, bias, r) -> y."""

    def forward(key: jax.Array, x: jax.Array, bias: jax.Array, r: jax.Array) -> jax.Array:
        return drop(key, jax.nn.gelu(x + bias[None])) + r

    return forward


def block_backward(drop: Drop) -> Callable[..., Any]:
    """Return the gradient for x of ``block``, given dy, as its backward pass computes it."""

    def backward(
        key: jax.Array, x: jax.Array, bias: jax.Array, r: jax.Array, dy: jax.Array
    ) -> jax.Array:
        _, pull = jax.vjp(lambda x: block(drop)(key, x, bias, r), x)
        return pull(dy)[0]

    return backward


def block_both(drop: Drop) -> Callable[..., Any]:
    """Return ``block`` and its gradient for x in one program."""

    def both(key: jax.Array, x: jax.Array, bias: jax.Array, r: jax.Array, dy: jax.Array) -> Any:
        y, pull = jax.vjp(lambda x: block(drop)(key, x, bias, r), x)
        return y, pull(dy)[0]

    return both


def copy(key: jax.Array, x: jax.Array) -> jax.Array:
    """What dropout is compared with: read, scale, write."""
    return x * x.dtype.type(1 / (1 - RATE))


def gradient(broadcast_dims: tuple[int, ...]) -> Callable[..., Any]:
    """Return dropout with its pull-back: (key, x, dy) -> (y, dx)."""

    def both(key: jax.Array, x: jax.Array, dy: jax.Array) -> Any:
        y, pull = jax.vjp(lambda x: jaxdrop.dropout(key, x, RATE, broadcast_dims=broadcast_dims), x)
        return y, pull(dy)[0]

    return both


def block_arguments(rows: int, width: int, dtype: Any) -> tuple[Any, ...]:
    x = jax.ShapeDtypeStruct((rows, width), dtype)
    return abstract_key(), x, jax.ShapeDtypeStruct((width,), dtype), x


def compile_stack(variant: str, scanned: bool, *, rows: int, width: int, dtype: Any) -> Any:
    """Compile the stack for the default device."""
    f = stack(DROPS[variant], scanned)
    return jax.jit(f).lower(*stack_arguments(rows, width, dtype)).compile()


def abstract_key() -> Any:
    return jax.eval_shape(lambda: jax.random.key(0))
