"""Gal & Ghahramani's regression network: many of them trained at once, and what they predict.

It is not ``_networks.feedforward.Net``, whose bias is added after the product: that is slower here,
and rounds differently.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxdrop
from jaxdrop import mc

BATCH = 128
ADAM = optax.adam(1e-3, eps=1e-7)  # Keras's defaults
ELEMENTS = 1 << 19  # activations that are computed at a time, so that they stay in the cache


class Rows(NamedTuple):
    """Standardised rows of every split, and how to get back to the units of y."""

    x: jax.Array  # float32 [splits, rows, features]
    y: jax.Array  # float32 [splits, rows]
    shift: np.ndarray  # float64 [splits]
    scale: np.ndarray  # float64 [splits]


def standardise(x: np.ndarray, y: np.ndarray, fit: np.ndarray, rows: np.ndarray) -> Rows:
    """Take rows of each split, standardised by the rows that are trained on, as Keras sees them."""
    mean, std = x[fit].mean(1, keepdims=True), x[fit].std(1, keepdims=True)
    std[std == 0] = 1
    shift, scale = y[fit].mean(1), y[fit].std(1)
    return Rows(
        jnp.asarray((x[rows] - mean) / std, jnp.float32),
        jnp.asarray((y[rows] - shift[:, None]) / scale[:, None], jnp.float32),
        shift,
        scale,
    )


def network(params: Any, key: jax.Array, x: jax.Array, rate: Any) -> jax.Array:
    """Dropout, dense, ReLU, dropout, dense: one prediction for each row."""
    input_key, hidden_key = jax.random.split(key)
    x = jaxdrop.dropout(input_key, x, rate)
    # The bias is one more row of the kernel: as a sum over rows, its gradient took twice as long
    # as all matrix products of a step together.
    layer = params["hidden"]
    kernel = jnp.concatenate([layer["kernel"], layer["bias"][None]])
    x = jax.nn.relu(jnp.concatenate([x, jnp.ones((len(x), 1))], axis=1) @ kernel)
    x = jaxdrop.dropout(hidden_key, x, rate)
    return (x @ params["out"]["kernel"] + params["out"]["bias"][None])[:, 0]


@partial(jax.jit, static_argnames=("features", "hidden"))
def start(keys: jax.Array, features: int, hidden: int) -> Any:
    """Return (params, optimizer state) for an array of keys, one for each network."""

    def one(key: jax.Array) -> Any:
        glorot = jax.nn.initializers.glorot_uniform()
        sizes = {"hidden": (features, hidden), "out": (hidden, 1)}
        params = {
            name: {"kernel": glorot(k, size, jnp.float32), "bias": jnp.zeros(size[1])}
            for (name, size), k in zip(sizes.items(), jax.random.split(key), strict=True)
        }
        return params

    params = jax.vmap(one)(keys)
    return params, ADAM.init(params)


@partial(jax.jit, static_argnames="epochs", donate_argnums=0)
def train(
    nets: Any,
    keys: Any,
    order_key: Any,
    first: Any,
    x: Any,
    y: Any,
    rates: Any,
    weights: Any,
    *,
    epochs: int,
) -> Any:
    """Train networks for some epochs, numbered from first; all networks are one program.

    Each epoch visits the rows in a new order, the last short batch too; networks share the order
    and not the masks. The loss is the mean squared error plus weight times the sum of the squared
    kernels.

    Args:
      nets: what ``start`` or an earlier call returned; it is donated.
      keys, rates, weights: one for each network, those of a split side by side.
      order_key: for the order of the rows.
      x, y: [splits, rows, features] and [splits, rows].
    """
    n, each = y.shape[1], len(rates) // len(y)
    batches = -(-n // BATCH)
    padding = (0, batches * BATCH - n)
    counts = jnp.pad(jnp.ones(n), padding).reshape(batches, BATCH)

    def loss(params: Any, key: Any, x: Any, y: Any, rate: Any, weight: Any, counts: Any) -> Any:
        wrong = counts * jnp.square(network(params, key, x, rate) - y)
        squares = sum(jnp.sum(jnp.square(layer["kernel"])) for layer in params.values())
        return wrong.sum() / counts.sum() + weight * squares

    gradients = jax.vmap(jax.grad(loss), in_axes=(0, 0, 0, 0, 0, 0, None))

    def step(carry: Any, batch: Any) -> tuple[Any, None]:
        params, state = carry
        number, rows, counts = batch
        step_keys = jax.vmap(lambda key: jax.random.fold_in(key, number))(keys)
        x_rows, y_rows = (jnp.repeat(a[:, rows], each, axis=0) for a in (x, y))
        grads = gradients(params, step_keys, x_rows, y_rows, rates, weights, counts)
        updates, state = ADAM.update(grads, state, params)
        return (optax.apply_updates(params, updates), state), None

    def epoch(nets: Any, number: jax.Array) -> tuple[Any, None]:
        order = jax.random.permutation(jax.random.fold_in(order_key, number), n)
        numbers = number * batches + jnp.arange(batches)
        order = jnp.pad(order, padding).reshape(batches, BATCH)
        return jax.lax.scan(step, nets, (numbers, order, counts))

    return jax.lax.scan(epoch, nets, first + jnp.arange(epochs))[0]


@partial(jax.jit, static_argnames="samples")
def evaluate(
    params: Any, keys: Any, rates: Any, taus: Any, x: Any, y: Any, scale: Any, *, samples: int
) -> tuple[jax.Array, jax.Array]:
    """Return RMSE of the predictive mean and log-likelihood of a row, [nets], in the units of y.

    Args:
      params, keys, rates, taus: of the networks of one split, [nets].
      x, y: rows of that split, standardised; scale undoes it.
    """
    chunk = max(1, ELEMENTS // (len(y) * params["hidden"]["kernel"].shape[-1]))

    def one(net: Any) -> tuple[jax.Array, jax.Array]:
        params, key, rate, tau = net

        def predict(key: jax.Array, x: jax.Array) -> jax.Array:
            return scale * network(params, key, x, rate)

        drawn = mc.mc_predict(predict, key, x, samples, chunk_size=min(chunk, samples))
        error = jnp.sqrt(jnp.mean(jnp.square(drawn.mean(0) - scale * y)))
        return error, mc.regression_log_likelihood(drawn, scale * y, tau).mean()

    return jax.lax.map(one, (params, keys, rates, taus))
