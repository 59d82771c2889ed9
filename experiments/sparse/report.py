"""Pruned networks as a table, a figure, and a line of experiments/README.md."""

from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.table import Table

from experiments._harness.summary import Summary
from experiments.sparse.lenet import LAYERS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PUBLISHED: dict[str, Any] = {"error": 1.92, "sparsity": (98.9, 97.2, 62.0), "compression": 68}


def readme_line(result: dict[str, Any]) -> Summary:
    """Return the line of experiments/README.md."""
    numbers = result["numbers"]
    error, factor = np.mean(numbers["error"]), np.mean(numbers["compression"])
    sparsity = "-".join(f"{share:.1f}" for share in np.mean(numbers["sparsity"], axis=0))
    near = "within" if abs(error - PUBLISHED["error"]) <= 0.15 else "not within"
    return Summary(
        "How many weights does a network need?",
        "Molchanov et al. 2017, table 1",
        "error 1.92, sparsity 98.9-97.2-62.0, 68x",
        f"error {error:.2f}, sparsity {sparsity}, {factor:.0f}x",
        f"error {near} 0.15 points; {factor / PUBLISHED['compression']:.2f} of the compression",
    )


def show(result: dict[str, Any], console: Console) -> None:
    """Print error, sparsity and compression beside the paper's."""
    numbers = result["numbers"]
    epochs = result["config"]["epochs"]
    table = Table(
        title=f"Weights that are noise removed, after {epochs} epochs of {numbers['rows'][0]} rows"
    )
    for column in ("", "test error, %", *(f"{name}, % removed" for name in LAYERS), "compression"):
        table.add_column(column, justify="right" if column else "left")
    paper = (PUBLISHED["error"], *PUBLISHED["sparsity"], PUBLISHED["compression"])
    table.add_row("paper", *map(str, paper))
    for i, error in enumerate(numbers["error"]):
        sparsity = [f"{share:.1f}" for share in numbers["sparsity"][i]]
        seed = f"seed {result['config']['seed'] + i}"
        table.add_row(seed, f"{error:.2f}", *sparsity, f"{numbers['compression'][i]:.0f}")
    console.print(table)


def draw(result: dict[str, Any], figure: "Figure") -> None:
    """Draw the test error and the weights that are left against the epochs."""
    numbers = result["numbers"]
    figure.set_size_inches(10, 4)
    left, right = figure.subplots(1, 2)
    for error, kept in zip(numbers["history"]["error"], numbers["history"]["kept"], strict=True):
        epochs = np.arange(1, len(error) + 1)
        left.plot(epochs, error, color="#0072b2", linewidth=1.5)
        for i, (name, weights) in enumerate(numbers["weights"].items()):
            share = 100 * np.asarray(kept)[:, i] / weights
            right.plot(epochs, share, color=f"C{i}", label=name)
    left.axhline(PUBLISHED["error"], color="black", linestyle=":", label="paper, at the end")
    left.set(xlabel="epoch", ylabel="test error, %", title=_error_title(numbers))
    left.legend(frameon=False)
    total = sum(numbers["weights"].values())
    right.set(
        xlabel="epoch",
        ylabel="weights left, %",
        yscale="log",
        title=f"{total / np.mean(numbers['compression']):.0f} of {total:,} weights are left",
    )
    right.legend(list(numbers["weights"]), frameon=False)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)


def _error_title(numbers: dict[str, Any]) -> str:
    return f"Test error {np.mean(numbers['error']):.2f}%, noise removed"
