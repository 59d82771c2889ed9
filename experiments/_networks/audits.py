"""The networks of two experiments, as ``scripts/audit`` takes them; docs/audit.md shows the result.

scripts/audit experiments._networks.audits:quickstart
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from experiments import quickstart as quickstart_experiment
from experiments._networks.char_model import CharModel
from experiments._networks.char_training import CharConfig
from experiments._networks.feedforward import Net


def quickstart() -> Any:
    """Return the quickstart's network, with dropout, and 32 rows in place of digits."""
    config, arm = quickstart_experiment.Config(), quickstart_experiment.ARMS["dropout"]
    net = Net(config.hidden, input_rate=arm.input_rate, hidden_rate=arm.hidden_rate)
    return net, (jax.random.uniform(jax.random.key(0), (32, 784)),)


def char_lm() -> Any:
    """Return the character model of char_lm, its rates those after their rise, and 8 windows."""
    config = CharConfig()
    model = CharModel(
        layers=config.layers,
        width=config.width,
        heads=config.heads,
        context=config.context,
        rate=lambda step: config.rate,
        dtype=jnp.dtype(config.dtype),
        rngs=nnx.Rngs(config.seed),
    )
    model.begin_step()
    return model, (jax.random.randint(jax.random.key(0), (8, config.context), 0, 256),)
