"""Train with and without dropout on 100 to 60,000 digits: figure 10 of the dropout paper.

Question: how much data does dropout need, and when does it stop helping? Srivastava et al. (JMLR
2014), figure 10: with 100 and 500 rows dropout does not help, since the net learns them by heart
all the same; the gain grows up to a point, then shrinks as overfitting ceases to be the problem.

    scripts/run fetch mnist
    scripts/run data_size [--preset cpu|paper] [--seeds N] [--steps N] [--out DIR]

Protocol: 784-1024-1024-2048-10, ReLU, rate 0.2 on the input and 0.5 on hidden units, against the
same net without; both without other regularisers. ``--preset cpu`` has two hidden layers of 512
units, and 2000 steps that end with momentum 0.9 for up to 10,000 rows; 60,000 rows get as many
passes, so six times the steps. The paper preset takes a million steps at every size. Ours and the
run time: experiments/README.md, from results/data_size/result.json.
"""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.table import Table

from experiments._harness.settings import check_positive, refuse
from experiments._harness.summary import Summary
from experiments._harness.tick import Tick, silent
from experiments._networks.feedforward import Net
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
    "cpu": Scale(60_000, 512, 2000, Recipe(2000, momentum=(0.5, 0.9))),
    "paper": Scale(60_000, 1024, 1_000_000, Recipe(1_000_000, decay=100.0, evaluations=20)),
}
LAYERS = {"cpu": (1, 1), "paper": (1, 1, 2)}
PASSES_AT = 10_000  # with the cpu preset, more rows than these get more steps in proportion
ARMS = {"none": (0.0, 0.0), "dropout": (0.2, 0.5)}  # rates of input and hidden units


@dataclasses.dataclass(frozen=True)
class Config(MnistConfig):
    """Everything that the numbers depend on, apart from versions and device."""

    sizes: tuple[int, ...] = (100, 500, 1000, 5000, 10_000, 60_000)
    """Numbers of training rows, none above --rows."""
    learning_rate: float = 0.1
    """Learning rate at the start."""


def check(config: Config) -> None:
    check_mnist(config, PRESETS)
    check_positive(config, "learning_rate")
    most = scaled(config, PRESETS).rows
    if not config.sizes or not all(type(n) is int and 1 <= n <= most for n in config.sizes):
        refuse("sizes", config.sizes, f"whole numbers from 1 to {most}")


def ticks(config: Config) -> int:
    return len(config.sizes) * len(ARMS) * config.seeds


def run(config: Config, tick: Tick = silent, folder: Path | None = None) -> dict[str, Any]:
    """Train on every number of rows, both ways; return {"numbers": ..., "digests": ...}."""
    scale = scaled(config, PRESETS)
    net = Net(tuple(scale.units * layer for layer in LAYERS[config.preset]))
    found: dict[str, Any] = {name: {"error": [], "train_error": []} for name in ARMS}
    digests, steps = {}, []
    for size in config.sizes:
        data, digests[str(size)] = load_rows(config, size)
        more = size / PASSES_AT if config.preset == "cpu" and size > PASSES_AT else 1
        each = scale.recipe.evaluations
        steps.append(round(scale.steps * more / each) * each)
        recipe = dataclasses.replace(scale.recipe, steps=steps[-1])
        for name, (input_rate, hidden_rate) in ARMS.items():
            errors = train_networks(
                f"{name}-{size}",
                config,
                net,
                recipe,
                (data, digests[str(size)]),
                tick=tick,
                folder=folder,
                input_rate=[input_rate],
                hidden_rate=[hidden_rate],
                learning_rate=[config.learning_rate],
            )
            found[name]["error"].append(errors.test_error[:, 0, 0, 0, -1].astype(float).tolist())
            found[name]["train_error"].append(
                errors.train_error[:, 0, 0, 0, -1].astype(float).tolist()
            )
    return {"numbers": {"steps": steps, **found}, "digests": digests}


def gains(numbers: dict[str, Any]) -> list[tuple[float, float]]:
    """Return the points that dropout takes off the error at each size, and the standard error."""
    pairs = zip(numbers["none"]["error"], numbers["dropout"]["error"], strict=True)
    both = [np.subtract(none, dropout) for none, dropout in pairs]
    return [
        (float(gain.mean()), float(gain.std(ddof=1) / np.sqrt(len(gain))) if len(gain) > 1 else 0.0)
        for gain in both
    ]


def show(result: dict[str, Any], console: Console) -> None:
    """Print errors with and without, and the gain."""
    table = Table(title="Test error, %, mean ± standard error")
    for column in ("rows", "steps", "without", "with dropout", "gain, points"):
        table.add_column(column, justify="right")
    numbers = result["numbers"]
    for i, ((gain, se), size) in enumerate(
        zip(gains(numbers), result["config"]["sizes"], strict=True)
    ):
        errors = (said(numbers[name]["error"][i]) for name in ARMS)
        table.add_row(f"{size:,}", f"{numbers['steps'][i]:,}", *errors, f"{gain:.2f} ± {se:.2f}")
    console.print(table)


def readme_line(result: dict[str, Any]) -> Summary:
    """Return the line of experiments/README.md."""
    sizes, all_gains = result["config"]["sizes"], gains(result["numbers"])
    relative = [
        gain / np.mean(none)
        for (gain, _), none in zip(all_gains, result["numbers"]["none"]["error"], strict=True)
    ]
    peak = sizes[int(np.argmax(relative))]
    clear = [n for n, (gain, se) in zip(sizes, all_gains, strict=True) if gain > 2 * se]
    return Summary(
        "How much data does dropout need?",
        "figure 10",
        "no gain at 100 to 500 rows, then a peak, then a narrowing",
        "gain in points: "
        + ", ".join(
            f"{gain:.2f} ± {se:.2f} at {n:,}"
            for n, (gain, se) in zip(sizes, all_gains, strict=True)
        ),
        f"a gain beyond two standard errors at {', '.join(f'{n:,}' for n in clear) or 'no size'}; "
        f"the largest part of the error is taken off at {peak:,}",
    )


def draw(result: dict[str, Any], figure: "Figure") -> None:
    """Draw the error against the number of rows, and the gain."""
    figure.set_size_inches(10, 4)
    left, right = figure.subplots(1, 2)
    sizes, numbers = result["config"]["sizes"], result["numbers"]
    for name, colour in zip(ARMS, ("#8c8c8c", "#0072b2"), strict=True):
        errors = np.asarray(numbers[name]["error"])
        label = "with dropout" if name == "dropout" else "without"
        left.plot(sizes, errors.mean(axis=1), color=colour, label=label)
        left.plot(sizes, errors, ".", color=colour)
    left.set(xscale="log", yscale="log", xlabel="training rows", ylabel="test error, %")
    left.legend(frameon=False)
    without = np.mean(numbers["none"]["error"], axis=1)
    gain, error = (100 * np.asarray(v) / without for v in zip(*gains(numbers), strict=True))
    right.errorbar(sizes, gain, 2 * error, color="#0072b2", capsize=3)
    right.axhline(0, color="black", linewidth=0.8)
    peak = sizes[int(np.argmax(gain))]
    right.set(
        xscale="log",
        xlabel="training rows",
        ylabel="part of the error that dropout takes off, %",
        title=f"Dropout helps most at {peak:,} rows",
    )
    for one in (left, right):
        one.spines[["top", "right"]].set_visible(False)
