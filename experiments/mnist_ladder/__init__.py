"""Climb from a standard network to dropout with max-norm on MNIST: tables 2 and 9 of the paper.

Question: what does each regulariser take off the test error? Srivastava et al. (JMLR 2014), table 2
(standard, dropout with logistic units, with ReLU, with max-norm) and table 9 (L2, L2 + L1,
max-norm, dropout + L2, dropout + max-norm on one network, 784-1024-1024-2048-10).

    scripts/run fetch mnist
    scripts/run mnist_ladder [--preset cpu|paper] [--seeds N] [--steps N] [--out DIR]

Protocol of ``--preset paper``: 60,000 rows, batches of 100, a million steps, the learning rate
falling as 1 / (1 + step / 10,000), momentum from 0.5 to 0.95 (table 9: 0.99), rate 0.2 on the input
and 0.5 on hidden units, max-norm 2 (table 9: 3). The paper's learning rates and penalties were
tuned on 10,000 held-out rows and are not published in full; 0.1, L2 of 1e-4 and L1 of 1e-6 take
their place. Batches are drawn with replacement. Published errors, %: 1.60, 1.35, 1.25, 1.06; and
1.62, 1.60, 1.35, 1.25, 1.05.

``--preset cpu`` is not the table: half of the units, 5000 rows, 3000 steps that end with momentum
0.9. Errors are three times as large; only their order can be compared. Ours and the run time:
experiments/README.md, from results/mnist_ladder/result.json.
"""

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

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
from experiments._networks.recipe import Recipe
from experiments._networks.training import train_networks
from experiments.mnist_ladder.report import draw as draw
from experiments.mnist_ladder.report import readme_line as readme_line
from experiments.mnist_ladder.report import show as show

PRESETS = {
    "cpu": Scale(5000, 512, 3000, Recipe(3000)),
    "paper": Scale(60_000, 1024, 1_000_000, Recipe(1_000_000, decay=100.0, evaluations=20)),
}


# At its end; where noise is large and steps are few, a large one keeps the network from settling.
MOMENTUM = {("cpu", 2): 0.9, ("cpu", 9): 0.9, ("paper", 2): 0.95, ("paper", 9): 0.99}


class Rung(NamedTuple):
    """One row of a table."""

    label: str
    table: int
    published: float  # test error, %
    layers: tuple[float, ...]  # units of each hidden layer, relative to the preset's
    dropout: bool
    changes: dict[str, Any]  # of the recipe
    activation: Any = "relu"


THREE, NINE = (1.0, 1.0, 1.0), (1.0, 1.0, 2.0)
L2, L1 = {"l2": 1e-4}, {"l1": 1e-6}
RUNGS = {
    "standard": Rung("standard", 2, 1.60, (800 / 1024,) * 2, False, {}, "logistic"),
    "logistic": Rung("dropout, logistic", 2, 1.35, THREE, True, {}, "logistic"),
    "relu": Rung("dropout, ReLU", 2, 1.25, THREE, True, {}),
    "relu_max_norm": Rung("dropout, ReLU, max-norm", 2, 1.06, THREE, True, {"max_norm": 2.0}),
    "l2": Rung("L2", 9, 1.62, NINE, False, L2),
    "l2_l1": Rung("L2 + L1", 9, 1.60, NINE, False, L2 | L1),
    "max_norm": Rung("max-norm", 9, 1.35, NINE, False, {"max_norm": 3.0}),
    "dropout_l2": Rung("dropout + L2", 9, 1.25, NINE, True, L2),
    "dropout_max_norm": Rung("dropout + max-norm", 9, 1.05, NINE, True, {"max_norm": 3.0}),
}


@dataclasses.dataclass(frozen=True)
class Config(MnistConfig):
    """Everything that the numbers depend on, apart from versions and device."""

    learning_rate: float = 0.1
    """Learning rate at the start, for ReLU."""
    logistic_learning_rate: float = 0.5
    """Learning rate at the start, for logistic units, whose gradients are smaller."""


def check(config: Config) -> None:
    check_mnist(config, PRESETS)
    check_positive(config, "learning_rate", "logistic_learning_rate")


def ticks(config: Config) -> int:
    return len(RUNGS) * config.seeds


def run(config: Config, tick: Tick = silent, folder: Path | None = None) -> dict[str, Any]:
    """Train every rung from every seed; return {"numbers": ..., "digests": ...}."""
    scale = scaled(config, PRESETS)
    data, digest = load_rows(config, scale.rows)
    rungs: dict[str, Any] = {}
    for name, rung in RUNGS.items():
        momentum = MOMENTUM[config.preset, rung.table]
        recipe = dataclasses.replace(scale.recipe, **rung.changes, momentum=(0.5, momentum))
        hidden = tuple(max(1, round(scale.units * layer)) for layer in rung.layers)
        relu = rung.activation == "relu"
        found = train_networks(
            name,
            config,
            Net(hidden, activation=rung.activation),
            recipe,
            (data, digest),
            tick=tick,
            folder=folder,
            input_rate=[0.2 * rung.dropout],
            hidden_rate=[0.5 * rung.dropout],
            learning_rate=[config.learning_rate if relu else config.logistic_learning_rate],
        )
        test, train = (e[:, 0, 0, 0].astype(float) for e in (found.test_error, found.train_error))
        rungs[name] = {
            "label": rung.label,
            "table": rung.table,
            "published": rung.published,
            "hidden": list(hidden),
            "error": test[:, -1].tolist(),
            "train_error": train[:, -1].tolist(),
            "history": np.asarray(test).tolist(),
        }
    return {
        "numbers": {"rows": scale.rows, "steps": scale.steps, "rungs": rungs},
        "digests": {"data": digest},
    }
