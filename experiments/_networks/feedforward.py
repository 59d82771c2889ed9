"""The feed-forward network of the experiments, as a Flax module."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

import jaxdrop
from jaxdrop.linen import DropConnectDense, Dropout, GaussianDropout

Noise = Literal["dropout", "gaussian", "drop_connect", "drop_connect_per_example"]
Params = dict[str, dict[str, jax.Array]]


class Choice(NamedTuple):
    """How hidden units are left out of the computation: ``jaxdrop.unit_dropout_mlp``'s options."""

    block_size: int = 1
    contiguous: bool = False
    groups: int = 1


class Net(nn.Module):
    """Dense layers, with noise on the input and on every hidden layer.

    Attributes:
      hidden: units of each hidden layer.
      outputs: units of the last layer.
      activation: of the hidden units.
      noise: what the rates apply to: units, Gaussian noise of the same variance, or weights.
      input_rate, hidden_rate: probability of dropping an input and a hidden unit; with a
        "drop_connect" the hidden rate is that of each weight that enters a hidden unit.
      scale_at: with "dropout", when units are scaled, as in ``jaxdrop.dropout``.
      removed: a rate at which hidden units are left out, for ``forward``, and how they are chosen;
        the other two rates are then 0.
    """

    hidden: tuple[int, ...]
    outputs: int = 10
    activation: Literal["relu", "logistic"] = "relu"
    noise: Noise = "dropout"
    input_rate: Any = 0.0
    hidden_rate: Any = 0.0
    scale_at: Literal["train", "test"] = "train"
    removed: tuple[float, Choice] | None = None

    @property
    def kernel_init(self) -> Any:
        """He normal for ReLU, Glorot normal for logistic units."""
        relu = self.activation == "relu"
        return nn.initializers.he_normal() if relu else nn.initializers.glorot_normal()

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        *,
        train: bool = False,
        keys: Sequence[jax.Array | None] | None = None,
        gates: Sequence[jax.Array] | None = None,
    ) -> jax.Array:
        """Return the outputs before softmax; sow every layer "before" and "after" its noise.

        Args:
          x: rows of pixels, (rows, inputs).
          train: add noise. In test mode the weights stand for their mean ("weight scaling" in the
            paper, which the division by 1 - rate in training amounts to).
          keys: of the noise on the input and on each hidden layer, in place of the "dropout" rng.
          gates: one factor per hidden unit and layer, 0 for a unit that is removed.
        """
        keys = keys or [None] * (1 + len(self.hidden))
        on_weights = self.noise.startswith("drop_connect")
        x = self._noise(x, self.input_rate, train, keys[0])
        for i, (units, key) in enumerate(zip(self.hidden, keys[1:], strict=True)):
            options: Any = {"kernel_init": self.kernel_init, "name": f"Dense_{i}"}
            if on_weights:
                each = self.noise == "drop_connect_per_example"
                dense = DropConnectDense(units, self.hidden_rate, per_example=each, **options)
                x = dense(x, not train, key)
            else:
                x = nn.Dense(units, **options)(x)
            x = nn.relu(x) if self.activation == "relu" else nn.sigmoid(x)
            x = self._noise(x, 0.0 if on_weights else self.hidden_rate, train, key)
            x = x if gates is None else x * gates[i][None]
        return nn.Dense(self.outputs, name=f"Dense_{len(self.hidden)}")(x)

    def _noise(self, x: jax.Array, rate: Any, train: bool, key: jax.Array | None) -> jax.Array:
        self.sow("intermediates", "before", x)
        if self.noise == "gaussian":
            x = GaussianDropout(rate)(x, not train, key)
        else:
            x = Dropout(rate, scale_at=self.scale_at)(x, not train, key)
        self.sow("intermediates", "after", x)
        return x


def init(key: jax.Array, net: Net, inputs: int) -> Params:
    """Return kernels, by ``net.kernel_init`` in the last layer too, and zero biases.

    The layers' keys are split from one key, on which the stored results depend; ``net.init`` would
    derive them from the layers' names.
    """
    sizes = (inputs, *net.hidden, net.outputs)
    keys = jax.random.split(key, len(sizes) - 1)
    return {
        f"Dense_{i}": {"kernel": net.kernel_init(k, (a, b), jnp.float32), "bias": jnp.zeros(b)}
        for i, (k, a, b) in enumerate(zip(keys, sizes, sizes[1:], strict=False))
    }


def forward(
    net: Net,
    params: Params,
    x: jax.Array,
    key: jax.Array | None = None,
    input_rate: Any = 0.0,
    hidden_rate: Any = 0.0,
) -> jax.Array:
    """Return the outputs at these rates; without a key, in test mode.

    The step's key is split into one for the input and one for each layer; the last is not used.
    Where units are removed, ``unit_dropout_mlp`` derives them.
    """
    if net.removed is not None and key is not None:
        rate, choice = net.removed
        layers = [params[f"Dense_{i}"] for i in range(len(net.hidden) + 1)]
        return jaxdrop.unit_dropout_mlp(key, x, rate, layers, **choice._asdict())
    keys = None if key is None else list(jax.random.split(key, len(net.hidden) + 2))[:-1]
    net = net.clone(input_rate=input_rate, hidden_rate=hidden_rate)
    outputs: Any = net.apply({"params": params}, x, train=key is not None, keys=keys)
    return outputs
