"""The ladder of regularisers as a table, a figure, and a line of experiments/README.md."""

from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.table import Table

from experiments._harness.summary import Summary
from experiments._networks.mnist_config import said

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WITHIN = 0.15  # points: what counts as a match at the paper's size
# name of the better, name of the worse: the orders that the paper's tables state
ORDERS = (
    ("logistic", "standard"),
    ("relu", "logistic"),
    ("relu_max_norm", "relu"),
    ("max_norm", "l2"),
    ("dropout_l2", "l2"),
    ("dropout_max_norm", "max_norm"),
    ("dropout_max_norm", "dropout_l2"),
)


def show(result: dict[str, Any], console: Console) -> None:
    """Print the errors beside the paper's."""
    numbers = result["numbers"]
    table = Table(
        title=f"Test error, %, {numbers['rows']} rows, {numbers['steps']} steps; mean ± standard "
        f"error of {result['config']['seeds']} seeds"
    )
    for column in ("", "hidden", "train", "test", "paper"):
        table.add_column(column, justify="left" if column == "" else "right")
    for rung in numbers["rungs"].values():
        table.add_row(
            rung["label"],
            "-".join(map(str, rung["hidden"])),
            said(rung["train_error"]),
            said(rung["error"]),
            f"{rung['published']:.2f}",
        )
        if rung["label"].endswith("ReLU, max-norm"):
            table.add_section()
    console.print(table)


def readme_line(result: dict[str, Any]) -> Summary:
    """Return the line of experiments/README.md."""
    rungs = result["numbers"]["rungs"]
    ladder = ("standard", "logistic", "relu", "relu_max_norm")
    nine = [name for name in rungs if name not in ladder]
    return Summary(
        "What does each regulariser take off the error?",
        "tables 2 and 9",
        "; ".join(
            " → ".join(f"{rungs[n]['published']:.2f}" for n in part) for part in (ladder, nine)
        ),
        "; ".join(" → ".join(said(rungs[n]["error"]) for n in part) for part in (ladder, nine)),
        _match(result),
    )


def _match(result: dict[str, Any]) -> str:
    rungs = result["numbers"]["rungs"]
    if result["config"]["preset"] == "paper":
        off = [
            rung["label"]
            for rung in rungs.values()
            if abs(np.mean(rung["error"]) - rung["published"]) > WITHIN
        ]
        return f"off by more than {WITHIN}: {', '.join(off)}" if off else f"all within {WITHIN}"
    said_of: dict[str, list[str]] = {"as published": [], "undecided": [], "reversed": []}
    for better, worse in ORDERS:
        # Seeds are shared, so the differences are taken seed by seed.
        gap = np.subtract(rungs[worse]["error"], rungs[better]["error"])
        noise = 2 * gap.std(ddof=1) / np.sqrt(len(gap)) if len(gap) > 1 else 0.0
        verdict = "undecided" if abs(gap.mean()) <= noise else "as published"
        verdict = "reversed" if gap.mean() < -noise else verdict
        names = (rungs[name]["label"].replace(",", "") for name in (better, worse))
        said_of[verdict].append(" < ".join(names))
    return (
        "; ".join(f"{name}: {', '.join(orders)}" for name, orders in said_of.items() if orders)
        + " (by two standard errors)"
    )


def draw(result: dict[str, Any], figure: "Figure") -> None:
    """Draw the errors of both tables beside the paper's."""
    figure.set_size_inches(11, 4.2)
    for axes, table in zip(figure.subplots(1, 2), (2, 9), strict=True):
        rungs = [r for r in result["numbers"]["rungs"].values() if r["table"] == table]
        for i, rung in enumerate(rungs):
            colour = "#0072b2" if rung["label"].startswith("dropout") else "#8c8c8c"
            axes.bar(i, np.mean(rung["error"]), color=colour, width=0.6)
            axes.plot([i] * len(rung["error"]), rung["error"], "o", color="black", ms=4)
            axes.plot([i - 0.3, i + 0.3], [rung["published"]] * 2, color="#d55e00", linewidth=2)
        names = [rung["label"].replace(", ", ",\n").replace(" + ", " +\n") for rung in rungs]
        axes.set_xticks(range(len(rungs)), names)
        axes.set(ylabel="test error, %", title=f"Table {table}: {_title(rungs)}")
        axes.plot([], [], color="#d55e00", label="paper, at full size")
        axes.legend(frameon=False)
        axes.spines[["top", "right"]].set_visible(False)


def _title(rungs: list[dict[str, Any]]) -> str:
    error, label = min((float(np.mean(rung["error"])), rung["label"]) for rung in rungs)
    return f"{label} is best, {error:.2f}%"
