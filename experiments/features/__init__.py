"""Look at what dropout does to an autoencoder's features: figures 7 and 8 of the dropout paper.

Question: do units that cannot rely on each other learn features of their own, and fire less?
Srivastava et al. (JMLR 2014): an autoencoder of MNIST with one hidden layer of 256 ReLU units.
Figure 7: with dropout at 0.5 the features are spots, strokes and edges, without it none can be made
out. Figure 8: the mean activation of hidden units falls from about 2.0 to about 0.7, and few units
are far from zero.

    scripts/run fetch mnist
    scripts/run features [--preset cpu|paper] [--seeds N] [--steps N] [--out DIR]

Activations are those of test rows in test mode. Their size depends on the scaling as well: here
the training output is divided by 1 - rate, in the paper the weights that leave a unit are
multiplied by it at test time, which is the same function. The loss is the cross entropy of the
pixels. ``--preset cpu`` has the paper's network, all 60,000 rows and fewer steps. Ours and the run
time: experiments/README.md, from results/features/result.json.
"""

import base64
import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments._harness.settings import check_positive
from experiments._harness.tick import Tick, silent
from experiments._networks.feedforward import Net
from experiments._networks.mnist_config import (
    MnistConfig,
    Scale,
    check_mnist,
    load_rows,
    scaled,
)
from experiments._networks.recipe import Moment, Recipe, loss
from experiments._networks.training import train_networks
from experiments.features.report import draw as draw
from experiments.features.report import readme_line as readme_line
from experiments.features.report import show as show

PRESETS = {
    "cpu": Scale(60_000, 256, 4000, Recipe(4000, evaluations=1, reconstruct=True)),
    "paper": Scale(60_000, 256, 200_000, Recipe(200_000, evaluations=1, reconstruct=True)),
}
ARMS = {"none": 0.0, "dropout": 0.5}
SHOWN = 64  # features in the figure
BINS = 40  # of the histograms


@dataclasses.dataclass(frozen=True)
class Config(MnistConfig):
    """Everything that the numbers depend on, apart from versions and device."""

    learning_rate: float = 0.002
    """Learning rate at the start; small, since the loss is a sum over pixels."""


def check(config: Config) -> None:
    check_mnist(config, PRESETS)
    check_positive(config, "learning_rate")


def ticks(config: Config) -> int:
    return len(ARMS) * config.seeds


def measure(net: Net, moment: Moment) -> dict[str, jax.Array]:
    """Measure the hidden activations of the test rows, and keep some features."""
    x = moment.data.x_test
    logits, sown = net.apply({"params": moment.params}, x, mutable="intermediates")
    hidden = sown["intermediates"]["after"][1]
    recipe = Recipe(1, reconstruct=True)
    units = hidden.mean(axis=0)
    return {
        "mean": units.mean(),
        "zero": jnp.mean(hidden == 0, dtype=jnp.float32),
        "loss": loss(net, recipe, logits, x, moment.data.y_test),
        # Up to 10; larger values count in the last bin.
        "activations": _histogram(hidden.ravel(), 10.0),
        "units": _histogram(units, 5.0),
        "features": moment.params["Dense_0"]["kernel"].T[:SHOWN],
    }


def _histogram(values: jax.Array, top: float) -> jax.Array:
    """Return the share of values in BINS equal bins from 0 to top."""
    place = jnp.clip(jnp.floor(values * (BINS / top)), 0, BINS - 1).astype(jnp.int32)
    return jnp.zeros(BINS).at[place].add(1.0) / values.size


def run(config: Config, tick: Tick = silent, folder: Path | None = None) -> dict[str, Any]:
    """Train both autoencoders from every seed; return {"numbers": ..., "digests": ...}."""
    scale = scaled(config, PRESETS)
    data, digest = load_rows(config, scale.rows)
    net = Net((scale.units,), outputs=data.x_train.shape[1])
    numbers: dict[str, Any] = {"rows": scale.rows, "steps": scale.steps}
    for name, rate in ARMS.items():
        found = train_networks(
            name,
            config,
            net,
            scale.recipe,
            (data, digest),
            tick=tick,
            folder=folder,
            measure=measure,
            input_rate=[0.0],
            hidden_rate=[rate],
            learning_rate=[config.learning_rate],
        )
        runs = {field: values[:, 0, 0, 0, 0].astype(float) for field, values in found.items()}
        features = runs.pop("features")[0]
        numbers[name] = {
            **{field: np.asarray(values).tolist() for field, values in runs.items()},
            "features": as_text(features),
        }
    return {"numbers": numbers, "digests": {"data": digest}}


def as_text(features: np.ndarray) -> dict[str, Any]:
    """Return features of the first seed as base64 of bytes, 128 for a weight of 0.

    Each feature is scaled by its largest weight, which a picture of it does not show.
    """
    largest = np.maximum(np.abs(features).max(axis=1, keepdims=True), 1e-12)
    pixels = np.round(128 + 127 * features / largest).astype(np.uint8)
    return {"shape": list(pixels.shape), "base64": base64.b64encode(pixels.tobytes()).decode()}
