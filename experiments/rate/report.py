"""The sweep over rates as a table, a figure, and a line of experiments/README.md."""

from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.table import Table

from experiments._harness.summary import Summary
from experiments._networks.mnist_config import said

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FLAT = (0.2, 0.6)  # where the paper finds the test error flat, as rates of dropping


def show(result: dict[str, Any], console: Console) -> None:
    """Print train and test errors by rate."""
    numbers = result["numbers"]
    table = Table(title=f"Error, %, {numbers['rows']} rows, {numbers['steps']} steps")
    for column in (
        "rate",
        *(f"{n}, {part}" for n in numbers["curves"] for part in ("train", "test")),
    ):
        table.add_column(column, justify="right")
    for i, rate in enumerate(result["config"]["rates"]):
        cells = (
            said(curve[part][i])
            for curve in numbers["curves"].values()
            for part in ("train_error", "error")
        )
        table.add_row(f"{rate:g}", *cells)
    console.print(table)


def readme_line(result: dict[str, Any]) -> Summary:
    """Return the line of experiments/README.md."""
    rates = result["config"]["rates"]
    curves = result["numbers"]["curves"]
    means = {name: [float(np.mean(e)) for e in curve["error"]] for name, curve in curves.items()}
    flat = [FLAT[0] <= rate <= FLAT[1] for rate in rates]
    inside, outside = (
        [e for e, there in zip(means["fixed n"], flat, strict=True) if there is wanted]
        for wanted in (True, False)
    )
    best = {name: rates[int(np.argmin(errors))] for name, errors in means.items()}
    ours = (
        f"fixed n: {min(inside):.2f} to {max(inside):.2f} there, {min(outside):.2f} to "
        f"{max(outside):.2f} outside; best at {best['fixed n']:g}, fixed pn at {best['fixed pn']:g}"
    )
    plateau = max(inside) <= min(outside)
    return Summary(
        "Which rate?",
        "figure 9",
        "fixed n: flat for rates of 0.2 to 0.6",
        ours,
        "yes: a plateau where the paper has it"
        if plateau
        else "in part: some rate outside 0.2 to 0.6 does as well",
    )


def draw(result: dict[str, Any], figure: "Figure") -> None:
    """Draw train and test error against the rate, both ways."""
    figure.set_size_inches(10, 4)
    rates = np.asarray(result["config"]["rates"])
    titles = {"fixed n": "As many units at every rate", "fixed pn": "As many kept units"}
    both = zip(figure.subplots(1, 2, sharey=True), result["numbers"]["curves"].items(), strict=True)
    for axes_, (name, curve) in both:
        for part, style in (("train_error", ":"), ("error", "-")):
            values = np.asarray(curve[part])
            label = "test" if part == "error" else "train"
            axes_.plot(rates, values.mean(axis=1), style, color="#0072b2", label=label)
            axes_.plot(rates, values, ".", color="#0072b2", alpha=0.4)
        axes_.axvspan(*FLAT, color="#d55e00", alpha=0.1, label="flat in the paper")
        best = rates[np.argmin(np.mean(curve["error"], axis=1))]
        axes_.set(xlabel="dropout rate", title=f"{titles[name]}: best at {best:g}")
        axes_.set_ylim(0, 2.5 * float(np.min(np.mean(curve["error"], axis=1))))
        axes_.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("error, %")
    figure.axes[0].legend(frameon=False)
