"""Average k networks drawn by dropout, and compare with scaling the weights once: figure 11.

Question: is dividing by 1 - rate in training, and dropping nothing at test time, a good stand-in
for the average over all thinned networks? Srivastava et al. (JMLR 2014), figure 11: the class
probabilities of k sampled networks are averaged; near k = 50 the test error meets that of weight
scaling.

    scripts/run fetch mnist
    scripts/run averaging [--preset cpu|paper] [--seeds N] [--networks K] [--out DIR]

The same trained network is sampled in several independent series of K; the figure shows their mean
and standard deviation. ``--preset cpu``: 784-256-256-10 on 5000 rows; paper: 784-1024-1024-2048-10
on 60,000 rows and a million steps. Ours and the run time: experiments/README.md, from
results/averaging/result.json.
"""

import dataclasses
import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

from experiments._harness.settings import check_counts, check_positive
from experiments._harness.summary import Summary
from experiments._harness.tick import Tick, silent
from experiments._networks.feedforward import Net, forward
from experiments._networks.mnist_config import (
    MnistConfig,
    Scale,
    check_mnist,
    load_rows,
    scaled,
)
from experiments._networks.recipe import Measure, Moment, Recipe, score
from experiments._networks.training import train_networks

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PRESETS = {
    "cpu": Scale(5000, 256, 2000, Recipe(2000, evaluations=1, max_norm=3.0)),
    "paper": Scale(
        60_000, 1024, 1_000_000, Recipe(1_000_000, decay=100.0, evaluations=1, max_norm=3.0)
    ),
}
LAYERS = {"cpu": (1, 1), "paper": (1, 1, 2)}


@dataclasses.dataclass(frozen=True)
class Config(MnistConfig):
    """Everything that the numbers depend on, apart from versions and device."""

    networks: int = 100
    """The largest number of sampled networks that are averaged."""
    series: int = 3
    """Number of independent series of them for each trained network."""
    learning_rate: float = 0.1
    """Learning rate at the start."""


def check(config: Config) -> None:
    check_mnist(config, PRESETS)
    check_counts(config, "networks", "series")
    check_positive(config, "learning_rate")


def ticks(config: Config) -> int:
    return config.seeds


@functools.lru_cache
def sampled_errors(networks: int, series: int) -> Measure:
    """Return what measures the error of averages over 1, 2, ... networks, and of weight scaling."""

    def measure(net: Net, moment: Moment) -> dict[str, jax.Array]:
        x, y = moment.data.x_test, moment.data.y_test

        def one_series(key: jax.Array) -> jax.Array:
            def add(total: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
                rates = moment.input_rate, moment.hidden_rate
                total = total + jax.nn.softmax(forward(net, moment.params, x, key, *rates))
                return total, score(total, y)[0]

            keys = jax.random.split(key, networks)
            return jax.lax.scan(add, jnp.zeros((len(y), net.outputs)), keys)[1]

        scaled_error = score(forward(net, moment.params, x), y)[0]
        return {
            "averaged": jax.lax.map(one_series, jax.random.split(moment.key, series)),
            "scaled": scaled_error,
        }

    return measure


def run(config: Config, tick: Tick = silent, folder: Path | None = None) -> dict[str, Any]:
    """Train from every seed and sample; return {"numbers": ..., "digests": ...}."""
    scale = scaled(config, PRESETS)
    data, digest = load_rows(config, scale.rows)
    net = Net(tuple(scale.units * layer for layer in LAYERS[config.preset]))
    found = train_networks(
        "networks",
        config,
        net,
        scale.recipe,
        (data, digest),
        tick=tick,
        folder=folder,
        measure=sampled_errors(config.networks, config.series),
        more=dataclasses.asdict(config),
        input_rate=[0.2],
        hidden_rate=[0.5],
        learning_rate=[config.learning_rate],
    )
    averaged = found["averaged"][:, 0, 0, 0, 0].astype(float)  # seeds, series, k
    return {
        "numbers": {
            "rows": scale.rows,
            "steps": scale.steps,
            "scaled": found["scaled"][:, 0, 0, 0, 0].astype(float).tolist(),
            "averaged": np.asarray(averaged).tolist(),
        },
        "digests": {"data": digest},
    }


def above(numbers: dict[str, Any]) -> np.ndarray:
    """Return how far each series' error is above that of weight scaling, in points, by k."""
    averaged, by_scaling = np.asarray(numbers["averaged"]), np.asarray(numbers["scaled"])
    return (averaged - by_scaling[:, None, None]).reshape(-1, averaged.shape[-1])


def meets(numbers: dict[str, Any], deviations: float) -> int | None:
    """Return the least k whose mean is within so many deviations of weight scaling, or None."""
    more = above(numbers)
    there = more.mean(axis=0) <= deviations * more.std(axis=0)
    return int(np.argmax(there)) + 1 if there.any() else None


def show(result: dict[str, Any], console: Console) -> None:
    """Print the error of averages of some sizes beside that of weight scaling."""
    numbers = result["numbers"]
    averaged = np.asarray(numbers["averaged"])
    table = Table(title="Test error, %, mean over networks and series")
    for column in ("networks averaged", "error", "more than weight scaling"):
        table.add_column(column, justify="right")
    for k in (1, 2, 5, 10, 20, 50, 100, 200):
        if k <= averaged.shape[-1]:
            more = above(numbers)[:, k - 1].mean()
            table.add_row(str(k), f"{averaged[..., k - 1].mean():.2f}", f"{more:+.2f}")
    table.add_row("weight scaling", f"{np.mean(numbers['scaled']):.2f}", "")
    console.print(table)


def readme_line(result: dict[str, Any]) -> Summary:
    """Return the line of experiments/README.md."""
    numbers = result["numbers"]
    averaged = np.asarray(numbers["averaged"])
    near, equal = meets(numbers, 1.0), meets(numbers, 0.0)
    last = averaged.shape[-1]
    return Summary(
        "Is weight scaling as good as averaging sampled networks?",
        "figure 11",
        "the average of k networks meets weight scaling near k = 50",
        f"k = 1: {averaged[..., 0].mean():.2f}, k = {last}: {averaged[..., -1].mean():.2f}, "
        f"weight scaling: {np.mean(numbers['scaled']):.2f}",
        (f"equal at k = {equal}, " if equal else f"not equal up to k = {last}, ")
        + (f"within a standard deviation from k = {near} on" if near else "nor close to it"),
    )


def draw(result: dict[str, Any], figure: "Figure") -> None:
    """Draw the error of averages against k, and weight scaling as a line."""
    numbers = result["numbers"]
    more, by_scaling = above(numbers), float(np.mean(numbers["scaled"]))
    figure.set_size_inches(7, 4)
    axes_ = figure.subplots()
    k = np.arange(1, more.shape[1] + 1)
    mean, deviation = by_scaling + more.mean(axis=0), more.std(axis=0)
    axes_.plot(k, mean, color="#0072b2", label="average of k sampled networks")
    axes_.fill_between(k, mean - deviation, mean + deviation, color="#0072b2", alpha=0.2)
    axes_.axhline(by_scaling, color="#d55e00", label="weight scaling, one pass")
    axes_.set(xscale="log", xlabel="k", ylabel="test error, %", title=readme_line(result).match)
    axes_.legend(frameon=False)
    axes_.spines[["top", "right"]].set_visible(False)
