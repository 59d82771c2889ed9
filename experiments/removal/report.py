"""The study of removal as a table, a figure, and a line of experiments/README.md."""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from experiments._harness.summary import Summary
from experiments._networks.mnist_config import said

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ("#000000", "#0072b2", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#e69f00", "#8c8c8c")


class Way(NamedTuple):
    """One way of dropping, at its own best rate."""

    name: str
    rate: float
    lowest: np.ndarray
    """The lowest error of each seed."""
    more: np.ndarray
    """That, less the one of masks."""
    curve: np.ndarray
    """The mean error at each evaluation."""
    milliseconds: float

    @property
    def worse(self) -> bool:
        """Whether it is worse than masks by more than two standard errors."""
        return len(self.more) > 1 and self.more.mean() > 2 * standard_error(self.more)


def standard_error(values: np.ndarray) -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values)))


def ways(result: dict[str, Any]) -> dict[str, Way]:
    """Return each way at the rate whose mean lowest error is lowest; rate 0 is "none"."""
    found: dict[str, Way] = {}
    errors, times = result["numbers"]["errors"], result["times"]
    for name in ("masks", *(way for way in errors if way != "masks")):
        rates = [0.0] if name == "none" else result["config"]["rates"]
        lowest = np.asarray(errors[name]).min(axis=-1)  # rates, seeds
        best = int(np.argmin(lowest.mean(axis=1)))
        masks = found["masks"].lowest if found else lowest[best]
        curve = np.asarray(errors[name][best]).mean(axis=0)
        more = lowest[best] - masks
        found[name] = Way(name, rates[best], lowest[best], more, curve, times[name][best])
    return found


def reached(result: dict[str, Any]) -> dict[str, int]:
    """Return after how many steps each way's mean error is where all ways with dropout get."""
    found = {name: way for name, way in ways(result).items() if name != "none"}
    target = max(way.curve.min() for way in found.values())
    steps = result["numbers"]["steps"]
    return {name: steps[int(np.argmax(way.curve <= target))] for name, way in found.items()}


def verdict(result: dict[str, Any]) -> str:
    """Say which ways of leaving units out cost accuracy."""
    worse = [
        f"{way.name} (by {said(way.more)})"
        for way in ways(result).values()
        if way.worse and way.name != "none"
    ]
    if worse:
        return f"Worse than masks by more than two standard errors: {', '.join(worse)}"
    return "No way of leaving units out is worse than masks by more than two standard errors"


def show(result: dict[str, Any], console: Console) -> None:
    """Print the verdict, and each way at its own best rate."""
    console.print(verdict(result), soft_wrap=True)
    numbers = result["numbers"]
    table = Table(title=f"{numbers['measure']}: lowest in {numbers['steps'][-1]} steps")
    table.add_column("way")
    for column in (
        "best rate",
        "lowest",
        "less masks",
        "ms a step",
        "steps to the same",
        "seconds",
    ):
        table.add_column(column, justify="right")
    steps = reached(result)
    for name, way in ways(result).items():
        cells = [f"{way.rate:g}", said(way.lowest), said(way.more), f"{way.milliseconds:.2f}"]
        if name in steps:
            cells += [str(steps[name]), f"{steps[name] * way.milliseconds / 1e3:.1f}"]
        table.add_row(name, *cells)
    console.print(table)


def markdown(result: dict[str, Any]) -> str:
    """Return the rows for docs/removal.md."""
    steps, lines = reached(result), []
    for name, way in ways(result).items():
        errors = f"{said(way.lowest)} | {'' if name == 'masks' else said(way.more)}"
        time = f"{way.milliseconds:.1f} | {steps.get(name, '')}"
        lines.append(f"| {name} | {way.rate:g} | {errors} | {time} |")
    return "\n".join(lines)


def readme_line(result: dict[str, Any]) -> Summary:
    """Return the line of experiments/README.md."""
    found = ways(result)
    shown = ("masks", "units", "blocks of 64", "8 groups")
    return Summary(
        "Can dropped units be left out of the computation?",
        "SparseDrop, 2024",
        "1.430 nats against 1.448 with masks (blocks for each example, a GPT)",
        ", ".join(f"{name} {said(found[name].lowest)} at {found[name].rate:g}" for name in shown),
        verdict(result),
    )


def draw(result: dict[str, Any], figure: "Figure") -> None:
    """Draw the time of a step and the lowest error over the rate, a line for each way."""
    figure.set_size_inches(11, 4.6)
    left, right = figure.subplots(1, 2)
    rates, numbers = np.asarray(result["config"]["rates"]), result["numbers"]
    dense = result["times"]["none"][0]
    none = np.asarray(numbers["errors"]["none"][0]).min(axis=-1).mean()
    names = [name for name in numbers["errors"] if name != "none"]
    for name, colour in zip(names, COLOURS, strict=False):
        lowest = np.asarray(numbers["errors"][name]).min(axis=-1)
        width = 2.5 if name == "masks" else 1.2
        left.plot(rates, np.asarray(result["times"][name]) / dense, color=colour, linewidth=width)
        right.plot(rates, lowest.mean(axis=1), color=colour, linewidth=width, label=name)
        right.plot(rates, lowest, ".", color=colour, alpha=0.4, markersize=4)
    left.axhline(1.0, color="black", linestyle=":", linewidth=1)
    right.axhline(none, color="black", linestyle=":", linewidth=1, label="no dropout")
    left.set(
        xlabel="rate",
        ylabel="time of a step, over no dropout",
        title="Time of a step",
        ylim=(0, None),
    )
    right.set(xlabel="rate", ylabel=numbers["measure"], title="Lowest error of the training")
    right.legend(frameon=False, fontsize=8, ncols=2)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
