"""An autoencoder's features as a table, as a figure, and as a line of experiments/README.md."""

import base64
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.table import Table

from experiments._harness.summary import Summary
from experiments._networks.mnist_config import said

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAMES = {"none": "without dropout", "dropout": "with dropout, rate 0.5"}


def show(result: dict[str, Any], console: Console) -> None:
    """Print mean activation, share of zeros, and loss."""
    numbers = result["numbers"]
    table = Table(title=f"Hidden units on test rows, after {numbers['steps']} steps")
    for column in ("", "mean activation", "zero, %", "loss, nats"):
        table.add_column(column, justify="right" if column else "left")
    for arm, name in NAMES.items():
        one = numbers[arm]
        zero = [100 * share for share in one["zero"]]
        table.add_row(name, said(one["mean"]), said(zero), said(one["loss"]))
    console.print(table)


def ratio(numbers: dict[str, Any]) -> float:
    """Return by what factor dropout lowers the mean activation."""
    return float(np.mean(numbers["none"]["mean"]) / np.mean(numbers["dropout"]["mean"]))


def readme_line(result: dict[str, Any]) -> Summary:
    """Return the line of experiments/README.md."""
    numbers = result["numbers"]
    factor = ratio(numbers)
    none, dropout = (numbers[arm] for arm in NAMES)
    zeros = " → ".join(f"{100 * np.mean(one['zero']):.0f}%" for one in (none, dropout))
    return Summary(
        "Do units learn features of their own, and fire less?",
        "figures 7 and 8",
        "mean activation 2.0 → 0.7",
        f"mean activation {said(none['mean'])} → {said(dropout['mean'])}, exact zeros {zeros}",
        f"activation falls by a factor of {factor:.1f}, in the paper of 2.9",
    )


def draw(result: dict[str, Any], figure: "Figure") -> None:
    """Draw the features as images, and the two histograms."""
    numbers = result["numbers"]
    figure.set_size_inches(12, 8.4)
    parts: Any = figure.subfigures(2, 1, height_ratios=(1.7, 1))
    top, bottom = parts
    for axes, (arm, name) in zip(top.subplots(1, 2), NAMES.items(), strict=True):
        axes.imshow(grid(numbers[arm]["features"]), cmap="gray", vmin=0, vmax=255)
        axes.set(title=f"Features {name}")
        axes.axis("off")
    left, right = bottom.subplots(1, 2)
    for arm, colour in zip(NAMES, ("#8c8c8c", "#0072b2"), strict=True):
        for axes, field, end in ((left, "units", 5.0), (right, "activations", 10.0)):
            shares = 100 * np.mean(numbers[arm][field], axis=0)
            edges = np.linspace(0, end, len(shares) + 1)
            axes.stairs(shares, edges, color=colour, fill=True, alpha=0.5, label=NAMES[arm])
    means = [np.mean(numbers[arm]["mean"]) for arm in NAMES]
    left.set(
        xlabel="mean activation of a unit",
        ylabel="units, %",
        title=f"Mean activation falls from {means[0]:.2f} to {means[1]:.2f}",
    )
    right.set(xlabel="activation", ylabel="of all, %", yscale="log", title="Activations")
    left.legend(frameon=False)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)


def grid(features: dict[str, Any]) -> np.ndarray:
    """Return features as one image, rows of square tiles with a white line between them."""
    count, pixels = features["shape"]
    side, across = int(pixels**0.5), int(np.ceil(count**0.5))
    bytes_ = np.frombuffer(base64.b64decode(features["base64"]), np.uint8)
    tiles = bytes_.reshape(count, pixels)[:, : side * side].reshape(count, side, side)
    image = np.full((across * (side + 1), across * (side + 1)), 255, np.uint8)
    for i, tile in enumerate(tiles):
        row, column = (n * (side + 1) for n in divmod(i, across))
        image[row : row + side, column : column + side] = tile
    return image
