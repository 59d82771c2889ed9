"""Learn the dropout rates, and tell noise in the data from lack of data (Concrete dropout).

Question: does a network whose dropout rates are learned know how much of its error is noise, and
how much would go away with more data? Gal, Hron & Kendall (NeurIPS 2017) train three layers of 1024
ReLU units, with mean and variance as outputs, on N points of y = 2x + 8 + noise of standard
deviation 1, and let N grow. The noise that is found (aleatoric) should tend to 1; the uncertainty
of the mean (epistemic) should fall, and so should the rates.

    scripts/run concrete [--out DIR] [--seed N] [--seeds N] [--units N] [--steps N]

Batches of 20, Adam at 1e-3, a length scale of 1e-4 and 20 samples of each of 1000 test points are
those of the authors' code. The width is not (theirs is --units 1024), nor is the number of steps:
the authors take 1000 to 2000, in which Adam moves a logit by 1 to 2 at most. With 1024 units and
1000 steps no rate comes near its final value: at N = 10,000 the epistemic part stays at 0.7. A
stopped run resumes. The numbers and the seconds that they took: results/concrete/result.json.
"""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from rich.console import Console
from rich.table import Table

from experiments._harness.parts import Parts
from experiments._harness.settings import check_counts, check_seeds
from experiments._harness.tick import Tick, silent
from experiments.concrete.network import LAYERS, draw_rows, run_one

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIZES = (10, 25, 50, 100, 1000, 10_000)


@dataclasses.dataclass(frozen=True)
class Config:
    """Everything that the numbers depend on, apart from versions and device."""

    seed: int = 0
    """First seed; the others count up from it."""
    seeds: int = 2
    """How many networks are trained for each N, each on data of its own."""
    units: int = 256
    """Units of each of the three hidden layers."""
    samples: int = 20
    """Number of passes for a prediction."""
    steps: int = 20_000
    """Training steps, the same for every N."""


def check(config: Config) -> None:
    """Raise CannotRun if a setting is invalid."""
    check_counts(config, "seeds", "units", "samples", "steps")
    check_seeds(config)


def ticks(config: Config) -> int:
    return len(SIZES) * config.seeds


def resume_point(config: Config, folder: Path) -> str | None:
    """Say how many networks are done."""
    done = Parts(folder).done()
    return f"network {done} of {ticks(config)}" if done else None


def run(config: Config, tick: Tick = silent, folder: Path | None = None) -> dict[str, Any]:
    """Train a network for every N and seed; return {"numbers": ..., "digests": ...}."""
    parts = Parts(folder, "concrete", tick)
    found: dict[str, list[Any]] = {"aleatoric": [], "epistemic": [], "rmse": [], "rates": []}
    for size in SIZES:
        rows = []
        for seed in range(config.seed, config.seed + config.seeds):

            def train(seed: int = seed, size: int = size) -> Any:
                key, rows_key = jax.random.split(jax.random.fold_in(jax.random.key(seed), size))
                x, y = draw_rows(rows_key, size)
                return run_one(
                    key, x, y, units=config.units, steps=config.steps, samples=config.samples
                )

            rows.append(parts.numbers(f"{size}-{seed}", train))
        for field, values in zip(found, zip(*rows, strict=True), strict=True):
            found[field].append(values)
    return {"numbers": {"n": list(SIZES), "layers": list(LAYERS), **found}, "digests": {}}


def show(result: dict[str, Any], console: Console) -> None:
    """Print noise, uncertainty and rates for every N."""
    numbers = result["numbers"]
    table = Table(title="y = 2x + 8 + N(0, 1): mean over seeds")
    for column in ("N", "aleatoric\nstd", "epistemic\nstd", "test\nRMSE"):
        table.add_column(column, justify="right")
    table.add_column("rates before: " + ", ".join(numbers["layers"]))
    for i, n in enumerate(numbers["n"]):
        values = [np.mean(numbers[k][i]) for k in ("aleatoric", "epistemic", "rmse")]
        rates = np.mean(numbers["rates"][i], axis=0)
        table.add_row(f"{n:,}", *(f"{v:.2f}" for v in values), "  ".join(f"{r:.3f}" for r in rates))
    console.print(table)


def draw(result: dict[str, Any], figure: "Figure") -> None:
    """Draw both uncertainties and the rates against N."""
    numbers = result["numbers"]
    n = numbers["n"]
    figure.set_size_inches(10, 4)
    left, right = figure.subplots(1, 2)
    fields = {"aleatoric": ("noise found (aleatoric)", "#d55e00"),
              "epistemic": ("uncertainty of the mean (epistemic)", "#0072b2")}  # fmt: skip
    for field, (label, colour) in fields.items():
        values = np.asarray(numbers[field])
        left.plot(n, values.mean(1), "o-", color=colour, label=label, linewidth=2)
        left.plot(n, values, ".", color=colour, alpha=0.5, markeredgewidth=0)
    left.axhline(1, color="black", linestyle=":", label="the noise that is there")
    first, last = (np.mean(numbers["epistemic"][i]) for i in (0, -1))
    left.set(
        xscale="log",
        xlabel="training points N",
        ylabel="standard deviation",
        ylim=(0, None),
        title=f"More data takes the epistemic part from {first:.2f} to {last:.2f}",
    )
    rates = np.mean(numbers["rates"], axis=1)
    for i, name in enumerate(numbers["layers"]):
        right.plot(n, rates[:, i], "o-", color=f"C{i}", label=name)
    right.set(
        xscale="log", xlabel="training points N", ylabel="learned rate, mean over seeds",
        ylim=(0, None), title="The rates are learned, one before each layer",
    )  # fmt: skip
    for axes in (left, right):
        axes.legend(frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
