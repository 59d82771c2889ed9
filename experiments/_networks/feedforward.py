"""Feed-forward nets, as a function of parameters, key and rates."""

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp

import jaxdrop

Noise = Literal["dropout", "gaussian", "drop_connect", "drop_connect_per_example"]
Params = list[dict[str, jax.Array]]
Key = jax.Array | Sequence[jax.Array | None] | None


@dataclasses.dataclass(frozen=True)
class Net:
    """Layers and noise of a network: what its program depends on."""

    hidden: tuple[int, ...]
    """Units of each hidden layer."""
    outputs: int = 10
    activation: Literal["relu", "logistic"] = "relu"
    noise: Noise = "dropout"
    """What the rates apply to: units, Gaussian noise of the same variance, or weights."""


def init(key: jax.Array, net: Net, inputs: int) -> Params:
    """Return kernels (He normal for ReLU, Glorot normal for logistic units) and zero biases."""
    sizes = (inputs, *net.hidden, net.outputs)
    relu = net.activation == "relu"
    draw = jax.nn.initializers.he_normal() if relu else jax.nn.initializers.glorot_normal()
    keys = jax.random.split(key, len(sizes) - 1)
    return [
        {"kernel": draw(k, (a, b), jnp.float32), "bias": jnp.zeros(b)}
        for k, a, b in zip(keys, sizes, sizes[1:], strict=False)
    ]


def forward(
    net: Net,
    params: Params,
    x: jax.Array,
    key: Key = None,
    input_rate: Any = 0.0,
    hidden_rate: Any = 0.0,
) -> jax.Array:
    """Return the outputs before softmax.

    Args:
      net: the layers.
      params: from ``init``.
      x: rows of pixels, (rows, inputs).
      key: of this step's noise, split into one for the input and one for each layer, or a list of
        these; None for test mode, where the weights stand for their mean ("weight scaling" in the
        paper, which the division by 1 - rate in training amounts to).
      input_rate, hidden_rate: probability of dropping an input and a hidden unit; with a
        "drop_connect" the hidden rate is that of each weight that enters a hidden unit.
    """
    return layers(net, params, x, key, input_rate, hidden_rate)[-1]


def layers(
    net: Net,
    params: Params,
    x: jax.Array,
    key: Key = None,
    input_rate: Any = 0.0,
    hidden_rate: Any = 0.0,
) -> list[jax.Array]:
    """Return the output of every layer, of hidden layers after their noise, the last one's last."""
    keys = _keys(key, len(params) + 1)
    found = []
    x = _noise(net, keys[0], x, input_rate)
    for i, layer in enumerate(params):
        last = i == len(params) - 1
        x = _product(net, keys[i + 1], x, layer["kernel"], hidden_rate, last) + layer["bias"][None]
        if not last:
            x = jax.nn.relu(x) if net.activation == "relu" else jax.nn.sigmoid(x)
            if not net.noise.startswith("drop_connect"):
                x = _noise(net, keys[i + 1], x, hidden_rate)
        found.append(x)
    return found


def _keys(key: Key, places: int) -> Sequence[jax.Array | None]:
    if key is None or isinstance(key, Sequence):
        return key or [None] * places
    return list(jax.random.split(key, places))


def _noise(net: Net, key: jax.Array | None, x: jax.Array, rate: Any) -> jax.Array:
    if net.noise == "gaussian":
        return jaxdrop.gaussian_dropout(key, x, rate, deterministic=key is None)
    return jaxdrop.dropout(key, x, rate, deterministic=key is None)


def _product(
    net: Net, key: jax.Array | None, x: jax.Array, kernel: jax.Array, rate: Any, last: bool
) -> jax.Array:
    if last or key is None or not net.noise.startswith("drop_connect"):
        return x @ kernel
    each = net.noise == "drop_connect_per_example"
    return jaxdrop.drop_connect_dense(key, x, rate, kernel=kernel, per_example=each)
