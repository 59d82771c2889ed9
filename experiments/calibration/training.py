"""A network of two hidden layers, trained by Adam in one compiled program for all rates."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax

from experiments._networks.feedforward import Net

BATCH = 100
ADAM = optax.adam(1e-3)


@functools.partial(jax.jit, static_argnames=("units", "epochs"))
def train(key: Any, rate: Any, x: Any, y: Any, *, units: int, epochs: int) -> Any:
    """Return the parameters; the last rows of an epoch that do not fill a batch are left out."""
    start_key, order_key, dropout_key = jax.random.split(key, 3)
    net = Net((units, units), hidden_rate=rate)
    params = net.init(start_key, x[:1])["params"]

    def loss(params: Any, rows: Any, key: Any) -> Any:
        rngs = {"dropout": key}
        logits: Any = net.apply({"params": params}, x[rows], train=True, rngs=rngs)
        return optax.softmax_cross_entropy_with_integer_labels(logits, y[rows]).mean()

    def step(carry: Any, rows: Any) -> tuple[Any, None]:
        params, state, number = carry
        grads = jax.grad(loss)(params, rows, jax.random.fold_in(dropout_key, number))
        updates, state = ADAM.update(grads, state, params)
        return (optax.apply_updates(params, updates), state, number + jnp.uint32(1)), None

    def epoch(carry: Any, number: Any) -> tuple[Any, None]:
        size = min(BATCH, len(y))
        order = jax.random.permutation(jax.random.fold_in(order_key, number), len(y))
        return jax.lax.scan(step, carry, order[: len(y) // size * size].reshape(-1, size))

    start = params, ADAM.init(params), jnp.uint32(0)
    return jax.lax.scan(epoch, start, jnp.arange(epochs, dtype=jnp.uint32))[0][0]
