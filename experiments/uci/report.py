"""The UCI result as a table in a terminal and as a figure, drawn from the JSON alone."""

from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Mean and standard error over the splits: the column "Grid Search (new)" in the README of the
# authors' repository, where the data sets are called as the folders are here.
PUBLISHED = {
    "bostonHousing": {"rmse": (2.90, 0.18), "log_likelihood": (-2.40, 0.04)},
    "concrete": {"rmse": (4.82, 0.16), "log_likelihood": (-2.93, 0.02)},
    "energy": {"rmse": (0.54, 0.06), "log_likelihood": (-1.21, 0.01)},
    "kin8nm": {"rmse": (0.08, 0.00), "log_likelihood": (1.14, 0.01)},
    "naval-propulsion-plant": {"rmse": (0.00, 0.00), "log_likelihood": (4.45, 0.00)},
    "power-plant": {"rmse": (4.01, 0.04), "log_likelihood": (-2.80, 0.01)},
    "protein-tertiary-structure": {"rmse": (4.27, 0.02), "log_likelihood": (-2.87, 0.00)},
    "wine-quality-red": {"rmse": (0.62, 0.01), "log_likelihood": (-0.93, 0.01)},
    "yacht": {"rmse": (0.67, 0.05), "log_likelihood": (-1.25, 0.01)},
}
PUBLISHED["boston"] = PUBLISHED["bostonHousing"]
LABELS = {"rmse": "RMSE", "log_likelihood": "log-likelihood"}
BLUE, RED = "#0072b2", "#d55e00"


def distance(name: str, field: str, ours: dict[str, Any]) -> float | None:
    """Return how many published standard errors ours lies from the published mean, if any is."""
    mean, error = PUBLISHED.get(name, {}).get(field, (0.0, 0.0))
    return (ours["mean"] - mean) / error if error else None


def show(result: dict[str, Any], console: Console) -> None:
    """Print ours, the published figure and the difference in standard errors."""
    table = Table(
        title=f"Mean ± standard error over the splits, T = {result['config']['samples']:,}"
    )
    table.add_column("data set", no_wrap=True)
    for column in ("", "ours", "published", "apart, in\nits s.e."):
        table.add_column(column, justify="right" if column else "left", no_wrap=True)
    for name, one in result["numbers"].items():
        about = (name, f"{len(one['chosen'])} splits")
        for first, (field, label) in zip(about, LABELS.items(), strict=True):
            ours, apart = one[field], distance(name, field, one[field])
            known = PUBLISHED[name][field] if name in PUBLISHED else None
            table.add_row(
                first,
                label,
                f"{ours['mean']:.2f} ± {ours['standard_error']:.2f}",
                f"{known[0]:.2f} ± {known[1]:.2f}" if known else "-",
                f"{apart:+.1f}" if apart is not None else "-",
            )
        table.add_section()
    console.print(table)


def draw(result: dict[str, Any], figure: "Figure") -> None:
    """Draw every split's RMSE and log-likelihood, and where on the grid the best were."""
    numbers = result["numbers"]
    figure.set_size_inches(11, 3.4 * len(numbers))
    rows = figure.subplots(len(numbers), 3, squeeze=False, width_ratios=(1, 1, 1.1))
    for axes, (name, one) in zip(rows, numbers.items(), strict=True):
        for panel, (field, label) in zip(axes, LABELS.items(), strict=False):
            _splits(panel, name, field, label, one[field])
        _grid(axes[2], one)


def _splits(axes: Any, name: str, field: str, label: str, ours: dict[str, Any]) -> None:
    values = np.asarray(ours["splits"])
    spread = np.linspace(-0.15, 0.15, len(values))
    axes.plot(spread, values, "o", color=BLUE, alpha=0.35, ms=5)
    places = {f"{len(values)} splits": 0.0, "jaxdrop": 0.4}
    bar: dict[str, Any] = dict(fmt="D", ms=6, capsize=4, linewidth=2)
    axes.errorbar(0.4, ours["mean"], ours["standard_error"], color=BLUE, **bar)
    title = f"{name}: {label} {ours['mean']:.2f} ± {ours['standard_error']:.2f}"
    if name in PUBLISHED:
        mean, error = PUBLISHED[name][field]
        places["published"] = 0.75
        axes.errorbar(0.75, mean, error, color=RED, **bar)
        axes.axhspan(mean - 2 * error, mean + 2 * error, color=RED, alpha=0.12, linewidth=0)
        title += f"\npublished {mean:.2f} ± {error:.2f}"
    axes.set(xlim=(-0.3, 1), title=title)
    axes.set_xticks(list(places.values()), list(places))
    axes.tick_params(axis="x", length=0)
    axes.spines[["top", "right", "bottom"]].set_visible(False)


def _grid(axes: Any, one: dict[str, Any]) -> None:
    shape = (len(one["rates"]), len(one["taus"]))
    scores = np.mean(one["validation_log_likelihood"], axis=0).reshape(shape)
    image = axes.imshow(scores, cmap="Blues", aspect="auto")
    axes.figure.colorbar(image, ax=axes, label="log-likelihood of held-out train rows")
    chosen = [tuple(pair) for pair in one["chosen"]]
    middle = (scores.min() + scores.max()) / 2
    for i, rate in enumerate(one["rates"]):
        for j, tau in enumerate(one["taus"]):
            times = chosen.count((rate, tau))
            colour = "white" if scores[i, j] > middle else "black"
            if times:
                axes.text(j, i, str(times), ha="center", va="center", color=colour, size=13)
    axes.set_xticks(range(shape[1]), [f"{t:g}" for t in one["taus"]])
    axes.set_yticks(range(shape[0]), [f"{r:g}" for r in one["rates"]])
    axes.set(xlabel="tau", ylabel="dropout rate", title="How many splits chose each pair")
