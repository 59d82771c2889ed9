"""The result of a sweep as a table in a terminal, a CSV file and a heat map."""

import csv
import io
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.table import Table

from experiments._harness.summary import Summary

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIELDS = ("train_error", "test_error", "train_loss", "test_loss")


def show(result: dict[str, Any], console: Console) -> None:
    """Print the error of every rate at its best learning rate, and the verdict."""
    numbers, config = result["numbers"], result["config"]
    table = Table(title=f"Error on rows not trained on, {config['data']}, {config['seeds']} seeds")
    for column in ("rate", "learning rate", "train, %", "error, %", "standard error"):
        table.add_column(column, justify="right")
    found = numbers["best"]
    train = np.mean(numbers["last"]["train_error"], axis=0)
    for i, rate in enumerate(config["rates"]):
        chosen = found["learning_rates"][i]
        seen = train[i, list(config["learning_rates"]).index(chosen)]
        table.add_row(
            f"{rate:g}",
            f"{chosen:g}",
            f"{seen:.2f}",
            f"{found['error'][i]:.2f}",
            f"{found['standard_error'][i]:.2f}",
        )
    console.print(table)
    console.print(verdict(result) + f" Computed by {config['vectorize']}.")


def verdict(result: dict[str, Any]) -> str:
    found, rates = result["numbers"]["best"], list(result["config"]["rates"])
    i = rates.index(found["rate"])
    return (
        f"Best rate: {found['rate']:g}, error {found['error'][i]:.2f} ± "
        f"{found['standard_error'][i]:.2f}%; no worse within two standard errors: "
        f"{', '.join(f'{rate:g}' for rate in found['no_worse'])}."
    )


def readme_line(result: dict[str, Any]) -> Summary:
    """Return the line of experiments/README.md."""
    config = result["config"]
    runs = np.size(result["numbers"]["last"]["test_error"])
    return Summary(
        "Which rate, and how sure is that?",
        "a sweep of one's own",
        "-",
        f"{runs} networks on {config['data']}, by {config['vectorize']}: {verdict(result)}",
        "-",
    )


def draw(result: dict[str, Any], figure: "Figure") -> None:
    """Draw the heat map."""
    numbers, config = result["numbers"], result["config"]
    error = np.mean(numbers["last"]["test_error"], axis=0)
    figure.set_size_inches(1.2 * len(config["rates"]) + 3, 4)
    axes = figure.subplots()
    image = axes.imshow(error.T, cmap="viridis_r", aspect="auto", origin="lower")
    for (i, j), value in np.ndenumerate(error):
        light = value > error.mean()
        axes.text(i, j, f"{value:.2f}", ha="center", va="center", color="w" if light else "k")
    axes.set_xticks(range(len(config["rates"])), [f"{r:g}" for r in config["rates"]])
    axes.set_yticks(range(len(config["learning_rates"])), map(str, config["learning_rates"]))
    axes.set(xlabel="dropout rate", ylabel="learning rate", title=verdict(result).split(";")[0])
    figure.colorbar(image, label="error on rows not trained on, %")


def more_files(result: dict[str, Any]) -> dict[str, str]:
    """Return table.csv, one line per run."""
    config, last = result["config"], result["numbers"]["last"]
    text = io.StringIO(newline="")
    lines = csv.writer(text)
    lines.writerow(("seed", "rate", "learning_rate", *FIELDS))
    for i, j, k in np.ndindex(np.shape(last["test_error"])):
        point = config["seed"] + i, config["rates"][j], config["learning_rates"][k]
        lines.writerow((*point, *(last[field][i][j][k] for field in FIELDS)))
    return {"table.csv": text.getvalue()}
