"""Test accuracy when hidden units are removed, and when the input is noisy."""

from typing import Any

import jax
import jax.numpy as jnp

from experiments._networks.feedforward import Net
from experiments.quickstart.training import accuracy, predict

REMOVED = tuple(i / 10 for i in range(10))
NOISE = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


def removal_gates(hidden: tuple[int, ...], share: Any, key: jax.Array) -> list[jax.Array]:
    """Choose the units that are removed: one factor per unit and layer.

    In a layer of n units, r = round(share * n), chosen at random, get the factor 0 and the others
    n / (n - r), so that the mean of the next layer's input is preserved.
    """
    gates = []
    for layer, n in enumerate(hidden):
        r = jnp.round(share * n)
        rank = jax.random.permutation(jax.random.fold_in(key, layer), n)
        gates.append(jnp.where(rank.astype(jnp.float32) >= r, n / (n - r), 0.0))
    return gates


def removal_accuracy(
    model: Net, params: Any, x: jax.Array, y: jax.Array, key: jax.Array, draws: int
) -> jax.Array:
    """Remove a share of the units of every hidden layer, the same for the whole test set.

    Every network that is given this key loses the same units, by the rule of ``removal_gates``.

    Returns:
      Accuracy of shape (len(REMOVED), draws).
    """

    def one(share: jax.Array, key: jax.Array) -> jax.Array:
        gates = removal_gates(model.hidden, share, key)
        return accuracy(predict(model, params, x, gates=gates), y)

    keys = jax.random.split(key, draws)
    return jax.lax.map(
        lambda share: jax.vmap(one, in_axes=(None, 0))(share, keys),
        jnp.asarray(REMOVED, jnp.float32),
    )


def noise_accuracy(
    model: Net, params: Any, x: jax.Array, y: jax.Array, key: jax.Array, draws: int
) -> jax.Array:
    """Add Gaussian noise of standard deviation ``NOISE`` to pixels that lie in [0, 1].

    Returns:
      Accuracy of shape (len(NOISE), draws); every level scales the same draws of noise.
    """

    def draw(key: jax.Array) -> jax.Array:
        noise = jax.random.normal(key, x.shape)
        return jax.lax.map(
            lambda level: accuracy(predict(model, params, x + level * noise), y),
            jnp.asarray(NOISE, jnp.float32),
        )

    return jax.lax.map(draw, jax.random.split(key, draws)).T
