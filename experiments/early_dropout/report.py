"""Early and late dropout as a table, a figure, and a line of experiments/README.md."""

from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.table import Table

from experiments._harness.summary import Summary
from experiments._networks.mnist_config import said

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = {"none": "#8c8c8c", "early": "#0072b2", "late": "#d55e00", "constant": "#009e73"}


def show(result: dict[str, Any], console: Console) -> None:
    """Print losses and errors at the end of every schedule."""
    numbers = result["numbers"]
    table = Table(title=f"After {numbers['steps']} steps; mean ± standard error")
    for column in ("dropout", "train loss", "test loss", "test error, %"):
        table.add_column(column, justify="left" if column == "dropout" else "right")
    for name, one in numbers["schedules"].items():
        last = (np.asarray(one[k])[:, -1] for k in ("train_loss", "test_loss", "test_error"))
        loss, test, error = last
        table.add_row(name, _fine(loss), _fine(test), said(error))
    console.print(table)


def readme_line(result: dict[str, Any]) -> Summary:
    """Return the line of experiments/README.md."""
    schedules = result["numbers"]["schedules"]
    lower = _difference(schedules, "train_loss", slice(-1, None))
    third = len(schedules["none"]["variance"][0]) // 3
    variance = _difference(schedules, "variance", slice(0, third))
    return Summary(
        "Can dropout at the start help a network that underfits?",
        "Liu et al. 2023, mechanism",
        "lower gradient direction variance while it drops, lower training loss in the end",
        f"early minus none: training loss {_signed(*lower)}, variance in the first third "
        f"{_signed(*variance)}",
        f"variance: {_verdict(*variance)}; training loss: {_verdict(*lower)}",
    )


def _difference(schedules: dict[str, Any], field: str, when: slice) -> tuple[float, float]:
    """Return early minus none, seed by seed: the mean and its standard error."""
    early, none = (np.asarray(schedules[name][field])[:, when] for name in ("early", "none"))
    gap = (early - none).mean(axis=1)
    return float(gap.mean()), float(gap.std(ddof=1) / np.sqrt(len(gap))) if len(gap) > 1 else 0.0


def _verdict(mean: float, standard_error: float) -> str:
    if abs(mean) <= 2 * standard_error:
        return "no difference beyond two standard errors"
    return "lower, as published" if mean < 0 else "higher, unlike the paper"


def _signed(mean: float, standard_error: float) -> str:
    return f"{mean:+.4f} ± {standard_error:.4f}"


def _fine(values: np.ndarray) -> str:
    se = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else 0.0
    return f"{values.mean():.4f} ± {se:.4f}"


def draw(result: dict[str, Any], figure: "Figure") -> None:
    """Draw training loss, and gradient direction variance, along the way."""
    numbers = result["numbers"]
    figure.set_size_inches(10, 4)
    left, right = figure.subplots(1, 2)
    for name, colour in COLOURS.items():
        one = numbers["schedules"][name]
        for axes, field in ((left, "train_loss"), (right, "variance")):
            values = np.asarray(one[field])
            steps = numbers["steps"] * np.arange(1, values.shape[1] + 1) / values.shape[1]
            axes.plot(steps, values.mean(axis=0), color=colour, label=name)
            if field == "variance":
                deviation = values.std(axis=0)
                low, high = (values.mean(axis=0) + s * deviation for s in (-1, 1))
                axes.fill_between(steps, low, high, color=colour, alpha=0.15)
    left.set(yscale="log", xlabel="step", ylabel="training loss, nats", title="Training loss")
    right.set(xlabel="step", ylabel="gradient direction variance", title="Do batches agree?")
    for axes in (left, right):
        for part in (1 / 3, 2 / 3):
            axes.axvline(numbers["steps"] * part, color="black", linewidth=0.6, linestyle=":")
        axes.spines[["top", "right"]].set_visible(False)
    left.legend(frameon=False)
