"""The character model's result as a table and as a figure, drawn from the JSON alone."""

from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = {"none": "#8c8c8c", "dropout": "#0072b2"}


def show(result: dict[str, Any], console: Console) -> None:
    """Print losses at the end and the best test loss."""
    table = Table(title="Bits per byte, in test mode")
    table.add_column("", no_wrap=True)
    for column in ("train", "test", "gap", "best test", "at step"):
        table.add_column(column, justify="right")
    for arm in result["numbers"].values():
        final, best = arm["final"], arm["best"]
        table.add_row(
            arm["label"],
            *(f"{final[name]:.2f}" for name in ("train", "test", "gap")),
            f"{best['test']:.2f}",
            str(best["step"]),
        )
    console.print(table)


def draw(result: dict[str, Any], figure: "Figure") -> None:
    """Draw the loss on trained and on new text, and the rate's schedule, as a PNG."""
    numbers = result["numbers"]
    figure.set_size_inches(9, 4.8)
    losses, rates = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    for arm, colour in COLOURS.items():
        epochs, best = numbers[arm]["epochs"], numbers[arm]["best"]
        for name, style in (("train", ":"), ("test", "-")):
            losses.plot(epochs["step"], epochs[name], style, color=colour, linewidth=2)
        losses.plot(best["step"], best["test"], "o", color=colour)
        end = (epochs["step"][-1], numbers[arm]["final"]["test"])
        losses.annotate(
            f"{numbers[arm]['label']}: {end[1]:.2f}", end, (-4, 6), textcoords="offset points",
            ha="right", color=colour, weight="bold",
        )  # fmt: skip
        steps = numbers[arm]["steps"]
        rates.plot(steps["step"], steps["rate"], color=colour, linewidth=2)
    losses.margins(y=0.1)
    losses.plot([], [], ":", color="black", label="text trained on")
    losses.plot([], [], "-", color="black", label="new text; the dot is its best")
    losses.legend(frameon=False, loc="lower left")
    lost = {arm: numbers[arm]["final"]["test"] - numbers[arm]["best"]["test"] for arm in COLOURS}
    losses.set(
        ylabel="bits per byte",
        title="After its best, the loss on new text rises by "
        f"{lost['none']:.2f} without dropout and {lost['dropout']:.2f} with it",
    )
    rates.set(xlabel="step", ylabel="rate")
    for axes in (losses, rates):
        axes.spines[["top", "right"]].set_visible(False)
