"""The calibration experiment as a table, a figure, and a line of experiments/README.md."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

from experiments._harness.markdown import row
from experiments._harness.summary import Summary
from experiments.calibration.judging import POINTS
from jaxdrop import mc

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = {
    "one network": "#8c8c8c",
    "dropout, weight scaling": "#d55e00",
    "dropout, samples": "#0072b2",
    "ensemble": "#009e73",
}
CALIBRATION = {
    "nll": ("NLL", "{:.4f}", 1),
    "brier": ("Brier", "{:.4f}", 1),
    "ece": ("ECE, %", "{:.2f}", 100),
    "adaptive": ("adaptive, %", "{:.2f}", 100),
    "classwise": ("classwise, %", "{:.2f}", 100),
    "temperature": ("T", "{:.2f}", 1),
}
USE = {
    "accuracy": ("accuracy, %", "{:.2f}", 100),
    "aurc": ("AURC, %", "{:.3f}", 100),
    "auroc": ("AUROC of clothes", "{:.4f}", 1),
    "confidence_outside": ("confidence on clothes, %", "{:.1f}", 100),
}
Columns = Mapping[str, tuple[str, str, float]]


def cells(one: dict[str, Any], columns: Columns) -> list[str]:
    """Return the means over seeds, as they are printed."""
    return [form.format(times * np.mean(one[key])) for key, (_, form, times) in columns.items()]


def show(result: dict[str, Any], console: Console) -> None:
    """Print the mean of every metric over seeds."""
    config = result["config"]
    for columns in (CALIBRATION, USE):
        table = Table(title=f"{config['rows']} digits; mean of {config['seeds']} seeds")
        for column in ("", *(title for title, _, _ in columns.values())):
            table.add_column(column, justify="right" if column else "left")
        for name, one in result["numbers"]["methods"].items():
            table.add_row(name, *cells(one, columns))
        console.print(table)


def markdown(result: dict[str, Any]) -> str:
    """Return the table of docs/calibration.md."""
    columns = CALIBRATION | USE
    lines = [row(["", *(title for title, _, _ in columns.values())])]
    lines.append(row(["---"] * (1 + len(columns))))
    for name, one in result["numbers"]["methods"].items():
        lines.append(row([name, *cells(one, columns)]))
    return "\n".join(lines)


def readme_line(result: dict[str, Any]) -> Summary:
    """Return the line of experiments/README.md."""
    methods = result["numbers"]["methods"]
    chosen = {
        "one network": "one network",
        "temperature": "one network, temperature",
        "dropout samples": "dropout, samples",
        "ensemble": "ensemble",
    }
    ours = "; ".join(
        f"{label}: NLL {np.mean(methods[name]['nll']):.3f}, "
        f"ECE {100 * np.mean(methods[name]['ece']):.1f}%, "
        f"AUROC {np.mean(methods[name]['auroc']):.3f}"
        for label, name in chosen.items()
    )
    gap = np.subtract(methods["ensemble"]["nll"], methods["dropout, samples"]["nll"])
    error = gap.std(ddof=1) / np.sqrt(len(gap)) if len(gap) > 1 else np.inf
    verdict = "undecided"
    if abs(gap.mean()) > 2 * error:
        verdict = "yes" if gap.mean() < 0 else "no: dropout's is lower"
    return Summary(
        "Samples of dropout, an ensemble, or a temperature?",
        "Lakshminarayanan et al. 2017; Guo et al. 2017",
        "an ensemble has a lower NLL than samples of dropout",
        ours,
        f"ensemble minus samples: NLL {gap.mean():+.4f}; {verdict} (by two standard errors)",
    )


def draw(result: dict[str, Any], figure: "Figure") -> None:
    """Draw reliability without and with a temperature, and risk against coverage."""
    methods = result["numbers"]["methods"]
    figure.set_size_inches(13, 4.4)
    plain, scaled, risk = figure.subplots(1, 3)
    for name, colour in COLOURS.items():
        for axes, key in ((plain, name), (scaled, f"{name}, temperature")):
            one = methods[key]
            label = f"{name}: ECE {100 * np.mean(one['ece']):.1f}%"
            mc.draw_reliability(axes, _first(one), color=colour, label=label)
        one = methods[name]
        label = f"{name}: AURC {1e4 * np.mean(one['aurc']):.0f} in 10,000"
        risk.plot(POINTS, 100 * np.mean(one["risk"], axis=0), color=colour, label=label)
    plain.set(title="As trained (first seed)")
    scaled.set(title="With a temperature from held-out rows")
    risk.set(
        xlabel="share of digits that are answered", ylabel="error of those, %",
        title="Risk against coverage, by entropy",
    )  # fmt: skip
    for axes in (plain, scaled, risk):
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8)


def _first(one: dict[str, Any]) -> mc.Reliability:
    fields = ("count", "confidence_in_bin", "accuracy_in_bin")
    return mc.Reliability(*(jnp.asarray(one[field][0]) for field in fields))
