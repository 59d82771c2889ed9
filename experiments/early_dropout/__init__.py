"""Drop only at the start, or only at the end, of a training that is too short to overfit.

Question: can dropout help a network that underfits? Liu et al. (Dropout Reduces Underfitting, ICML
2023): at the start of training dropout makes the gradients of mini-batches agree better in
direction, so dropping early lowers the training loss in the end (against underfitting); dropping
late works against overfitting. Measured here: training and test loss at the end, and along the way
the gradient direction variance, the mean of (1 - cos(g_i, g_j)) / 2 over all pairs of gradients of
16 mini-batches, each with a mask of its own at the rate of that step.

    scripts/run fetch mnist
    scripts/run early_dropout [--preset cpu|paper] [--rate R] [--data mnist|fashion] [--out DIR]

The paper's networks are transformers on ImageNet; this is their mechanism on a small MLP, not one
of their tables. ``--preset cpu``: 784-64-64-10 on 60,000 rows for four and a half passes, rate 0.1
on hidden units as in the paper; early and late are the first and the last third. Ours and the run
time: experiments/README.md, from results/early_dropout/result.json.
"""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments._harness.settings import check_positive, check_rates
from experiments._harness.tick import Tick, silent
from experiments._networks.feedforward import Net, forward
from experiments._networks.mnist_config import (
    MnistConfig,
    Scale,
    check_mnist,
    load_rows,
    scaled,
)
from experiments._networks.recipe import Moment, Recipe, errors, loss
from experiments._networks.training import train_networks
from experiments.early_dropout.report import draw as draw
from experiments.early_dropout.report import readme_line as readme_line
from experiments.early_dropout.report import show as show

POINTS = 18  # measurements, so that a third is a whole number of them
BATCHES = 16  # gradients that are compared at each
PRESETS = {
    "cpu": Scale(60_000, 64, 2700, Recipe(2700, evaluations=POINTS)),
    "paper": Scale(60_000, 1024, 27_000, Recipe(27_000, evaluations=POINTS)),
}


@dataclasses.dataclass(frozen=True)
class Config(MnistConfig):
    """Everything that the numbers depend on, apart from versions and device."""

    rate: float = 0.1
    """Probability of dropping a hidden unit while a schedule has dropout on."""
    learning_rate: float = 0.02
    """Learning rate at the start."""


def check(config: Config) -> None:
    check_mnist(config, PRESETS)
    check_rates(config, "rate", one=True)
    check_positive(config, "learning_rate")


def ticks(config: Config) -> int:
    return len(schedules(0.5, 3)) * config.seeds


def schedules(rate: float, steps: int) -> dict[str, np.ndarray]:
    """Return the rate of every step, in four ways."""
    number = np.arange(steps)
    on = {
        "none": number < 0,
        "early": number < steps // 3,
        "late": number >= steps - steps // 3,
        "constant": number >= 0,
    }
    return {name: np.where(when, rate, 0.0).astype(np.float32) for name, when in on.items()}


def measure(net: Net, moment: Moment) -> dict[str, jax.Array]:
    """Measure errors and losses, and how much the gradients of mini-batches differ in direction."""
    data = moment.data
    row_key, mask_key = jax.random.split(moment.key)
    rows = jax.random.randint(row_key, (BATCHES, 100), 0, len(data.y_train))

    def direction(number: jax.Array, chosen: jax.Array) -> jax.Array:
        key = jax.random.fold_in(mask_key, number)
        x, y = data.x_train[chosen], data.y_train[chosen]
        rates = moment.input_rate, moment.hidden_rate

        def batch_loss(params: Any) -> jax.Array:
            return loss(net, Recipe(1), forward(net, params, x, key, *rates), x, y)

        leaves = jax.tree.leaves(jax.grad(batch_loss)(moment.params))
        gradient = jnp.concatenate([leaf.ravel() for leaf in leaves])
        return gradient / jnp.linalg.norm(gradient)

    units = jax.lax.map(lambda pair: direction(*pair), (jnp.arange(BATCHES), rows))
    # The sum of all cosines is the squared norm of the sum; the pairs i = j are left out.
    cosines = (jnp.sum(jnp.square(units.sum(axis=0))) - BATCHES) / (BATCHES * (BATCHES - 1))
    return {**errors(net, moment)._asdict(), "variance": (1 - cosines) / 2}


def run(config: Config, tick: Tick = silent, folder: Path | None = None) -> dict[str, Any]:
    """Train under every schedule from every seed; return {"numbers": ..., "digests": ...}."""
    scale = scaled(config, PRESETS)
    data, digest = load_rows(config, scale.rows)
    plans = schedules(config.rate, scale.steps)
    found = train_networks(
        "schedules",
        config,
        Net((scale.units,) * 2),
        scale.recipe,
        (data, digest),
        tick=tick,
        folder=folder,
        measure=measure,
        hidden_rate=np.stack(list(plans.values())),
        input_rate=[0.0],
        learning_rate=[config.learning_rate],
    )
    numbers: dict[str, Any] = {"rows": scale.rows, "steps": scale.steps, "schedules": {}}
    for i, name in enumerate(plans):
        numbers["schedules"][name] = {
            field: values[:, i, 0, 0].astype(float).tolist() for field, values in found.items()
        }
    return {"numbers": numbers, "digests": {"data": digest}}
