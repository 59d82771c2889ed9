"""Leave dropped hidden units out of the computation: what does it cost in accuracy and in time?

Question: units can be left out only where many examples share the choice. That regularises more
than a mask for each example, so that equal rates do not compare: every way is taken at its own best
rate. Ways: a mask for each example; units left out one by one, in blocks of 16 or 64 neighbours, or
as one slice (``jaxdrop.unit_dropout_mlp``), all for the whole batch; and one by one with 2, 4 or 8
groups of the batch that choose apart.

    scripts/run fetch mnist
    scripts/run removal [--network mlp|characters] [--preset cpu|paper] [--seeds N] [--out DIR]

``--network mlp`` is that of the dropout paper on MNIST: ``--preset cpu`` has two hidden layers of
512 units, 5000 rows and 1500 steps of 128; paper has 2048 units, 60,000 rows and 100,000 steps.
``--network characters`` drops the hidden units of a small transformer's MLPs, and nothing else. The
measure is the lowest test error, or bits per byte, of the evaluations during the training; the best
rate is chosen by the same numbers, as no rows are held out. The time of a step is measured after
the training, all ways taking turns, and steps to the same error apart from it.

SparseDrop (2024), which leaves out blocks of 128 x 128 for each example, found 1.430 nats against
1.448 with masks on Shakespeare. Ours, and how long it took: docs/removal.md, from
results/removal/result.json and results/removal_characters/result.json.
"""

import dataclasses
from pathlib import Path
from typing import Any, Literal

from experiments._harness.result import CannotRun
from experiments._harness.settings import check_choice, check_counts, check_positive
from experiments._harness.tick import Tick, silent
from experiments._networks.feedforward import Choice
from experiments._networks.mnist_config import MnistConfig, check_mnist
from experiments.removal.networks import NETWORKS, PRESETS
from experiments.removal.report import draw as draw
from experiments.removal.report import readme_line as readme_line
from experiments.removal.report import show as show
from experiments.removal.times import step_times

WAYS: dict[str, Choice | None] = {
    "masks": None,
    "units": Choice(),
    "blocks of 16": Choice(block_size=16),
    "blocks of 64": Choice(block_size=64),
    "contiguous": Choice(contiguous=True),
    "2 groups": Choice(groups=2),
    "4 groups": Choice(groups=4),
    "8 groups": Choice(groups=8),
}


@dataclasses.dataclass(frozen=True)
class Config(MnistConfig):
    """Everything that the numbers depend on, apart from versions and device."""

    network: Literal["mlp", "characters"] = "mlp"
    """mlp: that of the dropout paper; characters: a small transformer."""
    rates: tuple[float, ...] = (0.125, 0.25, 0.375, 0.5)
    """Shares of the hidden units to drop; rate 0 is trained as well."""
    learning_rate: float = 0.1
    """Learning rate of the mlp at the start."""
    turns: int = 15
    """How often each step is taken to measure its time."""


def check(config: Config) -> None:
    """Raise CannotRun if a setting is invalid."""
    check_choice(config, "network", tuple(NETWORKS))
    check_mnist(config, PRESETS)
    check_positive(config, "learning_rate")
    check_counts(config, "turns")
    if not config.rates or not all(0 < rate < 1 for rate in config.rates):
        raise CannotRun(f"--rates is {config.rates}, expected numbers above 0 and below 1")
    NETWORKS[config.network].check(config, WAYS)


def ticks(config: Config) -> int:
    """Return how many networks ``run`` will report."""
    return config.seeds * (1 + len(WAYS) * len(config.rates))


def run(config: Config, tick: Tick = silent, folder: Path | None = None) -> dict[str, Any]:
    """Train all networks and time their steps; return "numbers", "times" and "digests"."""
    network = NETWORKS[config.network](config)
    tries = {("none", 0.0): None} | {
        (way, rate): choice for way, choice in WAYS.items() for rate in config.rates
    }
    curves: dict[str, Any] = {}
    for (way, rate), choice in tries.items():
        found = network.train(f"{way}-{rate:g}".replace(" ", "-"), rate, choice, tick, folder)
        curves.setdefault(way, []).append(found)
    times = step_times(
        {name: network.step(name[1], choice) for name, choice in tries.items()}, config.turns
    )
    return {
        "numbers": {"measure": network.measure, "steps": network.steps, "errors": curves},
        "times": {way: [times[name] for name in tries if name[0] == way] for way in curves},
        "digests": {"data": network.digest},
    }
