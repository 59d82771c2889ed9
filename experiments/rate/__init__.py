"""Sweep the dropout rate on MNIST, with units or kept units fixed in number: figure 9.

Question: where does the usual advice "0.2 to 0.5" hold? Srivastava et al. (JMLR 2014), figure 9:
(a) the rate is varied and the number of units n is fixed; (b) n grows so that the average number of
kept units, p n with p = 1 - rate, is fixed. Train and test errors are both shown.

    scripts/run fetch mnist
    scripts/run rate [--preset cpu|paper] [--seeds N] [--steps N] [--out DIR]

Paper: 784-2048-2048-2048-10, rates 0 to 0.9; in (b) p n = 256 in the first two layers and 512 in
the third. The test error is flat for 0.2 <= rate <= 0.6. ``--preset cpu`` has two hidden layers of
256 units, p n = 128, 5000 rows and 3000 steps that end with momentum 0.9. The input is not dropped,
so that only the hidden units' rate matters; max-norm is 3. Ours and the run time:
experiments/README.md, from results/rate/result.json.
"""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from experiments._harness.settings import check_positive, check_rates
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
from experiments.rate.report import draw as draw
from experiments.rate.report import readme_line as readme_line
from experiments.rate.report import show as show

PRESETS = {
    "cpu": Scale(5000, 256, 3000, Recipe(3000, momentum=(0.5, 0.9), max_norm=3.0)),
    "paper": Scale(
        60_000, 2048, 1_000_000, Recipe(1_000_000, decay=100.0, evaluations=20, max_norm=3.0)
    ),
}
# Units relative to the preset's, and kept units in (b) relative to the preset's.
LAYERS = {"cpu": ((1.0, 1.0), (0.5, 0.5)), "paper": ((1.0,) * 3, (1 / 8, 1 / 8, 1 / 4))}


@dataclasses.dataclass(frozen=True)
class Config(MnistConfig):
    """Everything that the numbers depend on, apart from versions and device."""

    rates: tuple[float, ...] = (0.0, 0.2, 0.4, 0.5, 0.6, 0.8, 0.9)
    """Probabilities of dropping a hidden unit, below 1."""
    learning_rate: float = 0.1
    """Learning rate at the start."""


def check(config: Config) -> None:
    check_mnist(config, PRESETS)
    check_rates(config, "rates")
    check_positive(config, "learning_rate")


def ticks(config: Config) -> int:
    return 2 * len(config.rates) * config.seeds


def run(config: Config, tick: Tick = silent, folder: Path | None = None) -> dict[str, Any]:
    """Train at every rate from every seed, both ways; return {"numbers": ..., "digests": ...}."""
    scale = scaled(config, PRESETS)
    data, digest = load_rows(config, scale.rows)
    layers, kept = LAYERS[config.preset]

    def trained(name: str, hidden: tuple[int, ...], rates: tuple[float, ...]) -> Any:
        found = train_networks(
            name,
            config,
            Net(hidden),
            scale.recipe,
            (data, digest),
            tick=tick,
            folder=folder,
            hidden_rate=rates,
            input_rate=[0.0],
            learning_rate=[config.learning_rate],
        )
        return found.train_error[..., 0, 0, -1], found.test_error[..., 0, 0, -1]

    fixed = tuple(max(1, round(scale.units * layer)) for layer in layers)
    curves = {"fixed n": _curve([fixed] * len(config.rates), *trained("n", fixed, config.rates))}
    sizes = [
        tuple(max(1, round(scale.units * layer / (1 - rate))) for layer in kept)
        for rate in config.rates
    ]
    parts = [
        trained(f"pn-{rate:g}", hidden, (rate,))
        for rate, hidden in zip(config.rates, sizes, strict=True)
    ]
    joined = (np.concatenate(errors, axis=1) for errors in zip(*parts, strict=True))
    curves["fixed pn"] = _curve(sizes, *joined)
    return {
        "numbers": {"rows": scale.rows, "steps": scale.steps, "curves": curves},
        "digests": {"data": digest},
    }


def _curve(hidden: list[tuple[int, ...]], train: Any, test: Any) -> dict[str, Any]:
    """Return errors by rate, then by seed."""
    return {
        "hidden": [list(units) for units in hidden],
        "train_error": np.asarray(train, float).T.tolist(),
        "error": np.asarray(test, float).T.tolist(),
    }
