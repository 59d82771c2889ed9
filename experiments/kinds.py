"""Compare kinds of noise on MNIST: Bernoulli, Gaussian and DropConnect (table 10; Wan et al. 2013).

Question: does it matter what dropout's noise looks like, and what it is applied to? Srivastava et
al. (JMLR 2014), table 10: multiplying by Gaussian noise of the same mean and variance does as well
as dropping, 0.95 ± 0.04 against 1.08 ± 0.04 (784-1024-1024-10). Wan et al. (ICML 2013): dropping
weights, 1.20, does a little better than dropping units, 1.28, and better than no noise, 1.62
(784-800-800-10).

    scripts/run fetch mnist
    scripts/run kinds [--preset cpu|paper] [--seeds N] [--steps N] [--out DIR]

Table 10's arms have noise of rate 0.2 on the input, 0.5 on hidden units and max-norm 3; Wan's have
a rate of 0.5 on the units, or on the weights that enter a unit, of the hidden layers, and nothing
else. The paper preset draws a mask of weights for every row, as Wan et al. do; ``--preset cpu``,
with 256 units, 5000 rows, 3000 steps and momentum 0.9, draws one for every batch. At test time the
mean of the weights is used, where Wan et al. sample the units from a Gaussian. Ours and the run
time: experiments/README.md, from results/kinds/result.json.
"""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from experiments._harness.settings import check_positive
from experiments._harness.summary import Summary
from experiments._harness.tick import Tick, silent
from experiments._networks.feedforward import Net, Noise
from experiments._networks.mnist_config import (
    MnistConfig,
    Scale,
    check_mnist,
    load_rows,
    said,
    scaled,
)
from experiments._networks.recipe import Recipe
from experiments._networks.training import train_networks

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PRESETS = {
    "cpu": Scale(5000, 256, 3000, Recipe(3000, momentum=(0.5, 0.9))),
    "paper": Scale(60_000, 1024, 1_000_000, Recipe(1_000_000, decay=100.0, evaluations=20)),
}


class Kind(NamedTuple):
    """One way to train."""

    label: str
    source: str
    published: float  # test error, %
    noise: Noise
    input_rate: float
    hidden_rate: float
    max_norm: float | None


KINDS = {
    "bernoulli": Kind("Bernoulli", "table 10", 1.08, "dropout", 0.2, 0.5, 3.0),
    "gaussian": Kind("Gaussian", "table 10", 0.95, "gaussian", 0.2, 0.5, 3.0),
    "none": Kind("none", "Wan", 1.62, "dropout", 0.0, 0.0, None),
    "dropout": Kind("dropout", "Wan", 1.28, "dropout", 0.0, 0.5, None),
    "drop_connect": Kind("DropConnect", "Wan", 1.20, "drop_connect", 0.0, 0.5, None),
}


@dataclasses.dataclass(frozen=True)
class Config(MnistConfig):
    """Everything that the numbers depend on, apart from versions and device."""

    seeds: int = 5
    """How many networks are trained in each way."""
    learning_rate: float = 0.1
    """Learning rate at the start."""


def check(config: Config) -> None:
    check_mnist(config, PRESETS)
    check_positive(config, "learning_rate")


def ticks(config: Config) -> int:
    return len(KINDS) * config.seeds


def run(config: Config, tick: Tick = silent, folder: Path | None = None) -> dict[str, Any]:
    """Train with every kind of noise from every seed; return {"numbers": ..., "digests": ...}."""
    scale = scaled(config, PRESETS)
    data, digest = load_rows(config, scale.rows)
    kinds: dict[str, Any] = {}
    for name, kind in KINDS.items():
        units = scale.units
        if config.preset == "paper" and kind.source == "Wan" and config.units is None:
            units = 800
        each = config.preset == "paper" and kind.noise == "drop_connect"
        noise: Noise = "drop_connect_per_example" if each else kind.noise
        recipe = dataclasses.replace(scale.recipe, max_norm=kind.max_norm)
        found = train_networks(
            name,
            config,
            Net((units, units), noise=noise),
            recipe,
            (data, digest),
            tick=tick,
            folder=folder,
            more={"noise": noise},
            input_rate=[kind.input_rate],
            hidden_rate=[kind.hidden_rate],
            learning_rate=[config.learning_rate],
        )
        kinds[name] = {
            "label": kind.label,
            "source": kind.source,
            "published": kind.published,
            "error": found.test_error[:, 0, 0, 0, -1].astype(float).tolist(),
            "train_error": found.train_error[:, 0, 0, 0, -1].astype(float).tolist(),
        }
    return {
        "numbers": {"rows": scale.rows, "steps": scale.steps, "kinds": kinds},
        "digests": {"data": digest},
    }


def show(result: dict[str, Any], console: Console) -> None:
    """Print the errors beside the published ones."""
    numbers = result["numbers"]
    table = Table(title=f"Error, %, {numbers['rows']} rows, {numbers['steps']} steps")
    for column in ("noise", "from", "train", "test", "published"):
        table.add_column(column, justify="left" if column in ("noise", "from") else "right")
    for kind in numbers["kinds"].values():
        errors = said(kind["train_error"]), said(kind["error"])
        table.add_row(kind["label"], kind["source"], *errors, f"{kind['published']:.2f}")
    console.print(table)


def readme_line(result: dict[str, Any]) -> Summary:
    """Return the line of experiments/README.md."""
    kinds = result["numbers"]["kinds"]
    pairs = (("gaussian", "bernoulli"), ("dropout", "none"), ("drop_connect", "dropout"))
    words = []
    for better, worse in pairs:
        # Seeds are shared, so the differences are taken seed by seed.
        gap = np.subtract(kinds[worse]["error"], kinds[better]["error"])
        se = gap.std(ddof=1) / np.sqrt(len(gap)) if len(gap) > 1 else 0.0
        verb = "beats" if gap.mean() > 2 * se else "loses to" if gap.mean() < -2 * se else "equals"
        words.append(f"{kinds[better]['label']} {verb} {kinds[worse]['label']}")
    return Summary(
        "What noise, and on what?",
        "table 10; Wan et al. 2013",
        ", ".join(f"{kind['label']} {kind['published']:.2f}" for kind in kinds.values()),
        ", ".join(f"{kind['label']} {said(kind['error'])}" for kind in kinds.values()),
        f"{'; '.join(words)} (by two standard errors)",
    )


def draw(result: dict[str, Any], figure: "Figure") -> None:
    """Draw the errors of all kinds and seeds."""
    kinds = list(result["numbers"]["kinds"].values())
    figure.set_size_inches(8, 4)
    axes_ = figure.subplots()
    for i, kind in enumerate(kinds):
        colour = "#8c8c8c" if kind["label"] == "none" else "#0072b2"
        axes_.bar(i, np.mean(kind["error"]), color=colour, width=0.6)
        axes_.plot([i] * len(kind["error"]), kind["error"], "o", color="black", ms=4)
    axes_.set_xticks(range(len(kinds)), [f"{k['label']}\n({k['source']})" for k in kinds])
    none = np.mean(result["numbers"]["kinds"]["none"]["error"])
    beaten = all(np.mean(kind["error"]) < none for kind in kinds if kind["label"] != "none")
    title = "Every kind of noise beats none" if beaten else "Not every kind of noise beats none"
    axes_.set(ylabel="test error, %", title=title)
    axes_.spines[["top", "right"]].set_visible(False)
