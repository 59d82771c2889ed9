"""Concrete dropout's synthetic regression: a network that learns its noise and its rates.

It is not ``_networks.feedforward.Net``: each layer has a rate that is learned with its weights, and
the last two, mean and log variance, share their input.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

import jaxdrop
from jaxdrop import mc

BATCH = 20
LENGTH_SCALE = 1e-4
ADAM = optax.adam(1e-3)
LAYERS = ("input", "hidden 1", "hidden 2", "mean", "log variance")


class Found(NamedTuple):
    """What a trained network says about noise, about its own uncertainty, and its rates."""

    aleatoric: jax.Array
    epistemic: jax.Array
    rmse: jax.Array
    rates: jax.Array  # in the order of LAYERS


def draw_rows(key: jax.Array, count: int) -> tuple[jax.Array, jax.Array]:
    """Draw x ~ N(0, 1) and y = 2 x + 8 + N(0, 1)."""
    x_key, y_key = jax.random.split(key)
    x = jax.random.normal(x_key, (count, 1))
    return x, 2 * x + 8 + jax.random.normal(y_key, (count, 1))


def start(key: jax.Array, units: int) -> Any:
    """Three ReLU layers, then mean and log variance; each has a rate of its own, at first 0.1."""
    sizes = [(1, units), (units, units), (units, units), (units, 1), (units, 1)]
    glorot = jax.nn.initializers.glorot_uniform()
    return [
        {
            "kernel": glorot(k, size, jnp.float32),
            "bias": jnp.zeros(size[1]),
            "logit": jnp.log(jnp.float32(0.1)) - jnp.log1p(jnp.float32(-0.1)),
        }
        for k, size in zip(jax.random.split(key, len(sizes)), sizes, strict=True)
    ]


def network(params: Any, key: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return mean and log variance of y."""
    keys = jax.random.split(key, len(params))

    def dense(layer: Any, key: jax.Array, x: jax.Array) -> jax.Array:
        x = jaxdrop.concrete_dropout(key, x, jax.nn.sigmoid(layer["logit"]))
        return x @ layer["kernel"] + layer["bias"][None]

    for i in range(3):
        x = jax.nn.relu(dense(params[i], keys[i], x))
    return dense(params[3], keys[3], x), dense(params[4], keys[4], x)


@partial(jax.jit, static_argnames=("units", "steps", "samples"))
def run_one(key: jax.Array, x: Any, y: Any, *, units: int, steps: int, samples: int) -> Found:
    """Train on the rows by the authors' loss; return what the network has found.

    ``mean(exp(-s) (y - m)**2 + s)`` plus ``concrete_regularizer`` of each layer, with N rows,
    weight factor ``l**2 / N`` and entropy factor ``2 / N``.
    """
    start_key, order_key, dropout_key, test_key, rows_key = jax.random.split(key, 5)
    n = len(y)
    batches = -(-n // BATCH)
    padding = (0, batches * BATCH - n)
    counts = jnp.pad(jnp.ones(n), padding).reshape(batches, BATCH)

    def loss(params: Any, key: Any, x: Any, y: Any, counts: Any) -> jax.Array:
        mean, log_variance = network(params, key, x)
        wrong = jnp.exp(-log_variance) * jnp.square(y - mean) + log_variance
        prior = sum(
            jaxdrop.concrete_regularizer(
                jax.nn.sigmoid(layer["logit"]),
                layer["kernel"],
                inputs=layer["kernel"].shape[0],
                weight_factor=LENGTH_SCALE**2 / n,
                entropy_factor=2 / n,
            )
            for layer in params
        )
        return (counts * wrong[:, 0]).sum() / counts.sum() + prior

    def step(carry: Any, batch: Any) -> tuple[Any, None]:
        params, state = carry
        number, rows, counts = batch
        grads = jax.grad(loss)(
            params, jax.random.fold_in(dropout_key, number), x[rows], y[rows], counts
        )
        updates, state = ADAM.update(grads, state, params)
        return (optax.apply_updates(params, updates), state), None

    def epoch(carry: Any, number: Any) -> tuple[Any, None]:
        order = jax.random.permutation(jax.random.fold_in(order_key, number), n)
        order = jnp.pad(order, padding).reshape(batches, BATCH)
        return jax.lax.scan(step, carry, (number * batches + jnp.arange(batches), order, counts))

    epochs = -(-steps // batches)  # whole ones
    params = start(start_key, units)
    (params, _), _ = jax.lax.scan(epoch, (params, ADAM.init(params)), jnp.arange(epochs))

    x_test, y_test = draw_rows(rows_key, 1000)
    mean, log_variance = mc.mc_predict(
        partial(network, params), test_key, x_test, samples, chunk_size=1
    )
    return Found(
        jnp.sqrt(jnp.exp(log_variance.mean(0)).mean()),
        jnp.sqrt(mean.var(0).mean()),
        jnp.sqrt(jnp.square(mean.mean(0) - y_test).mean()),
        jnp.stack([jax.nn.sigmoid(layer["logit"]) for layer in params]),
    )
