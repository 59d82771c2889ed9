"""The quickstart's result as one figure, drawn from the JSON alone."""

from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.quickstart.table import at

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = {"none": "#8c8c8c", "dropout": "#0072b2", "dropout_at_test": "#d55e00"}


def draw(result: dict[str, Any], figure: "Figure") -> None:
    """Draw learning curves, the gap, and robustness to lost units and to noise, as a PNG."""
    numbers = result["numbers"]
    figure.set_size_inches(10, 7.4)
    (curves, gap), (removal, noise) = figure.subplots(2, 2)
    _learning(curves, numbers)
    _gap(gap, numbers)
    _robustness(removal, numbers, "removal", "share", 0.5)
    removal.set(
        title=_change("With half of the hidden units removed", numbers, "removal", "share", 0.5),
        xlabel="share of the hidden units removed at test time",
    )
    removal.legend(frameon=False, loc="lower left")
    _robustness(noise, numbers, "noise", "sigma", 0.6)
    noise.set(
        title=_change("Under input noise of 0.6", numbers, "noise", "sigma", 0.6),
        xlabel="standard deviation of the noise (pixels are 0 to 1)",
    )
    for axes in (curves, gap, removal, noise):
        axes.spines[["top", "right"]].set_visible(False)
        axes.title.set_fontsize(12)


def _learning(axes: Any, numbers: dict[str, Any]) -> None:
    from matplotlib.ticker import MaxNLocator  # slow to import, and only needed here

    floor = 100.0
    for name, colour in COLOURS.items():
        history = numbers[name]["history"]
        for field, style in (("train_accuracy", ":"), ("test_accuracy", "-")):
            runs = 100 * np.asarray(history[field])
            epochs = np.arange(1, runs.shape[1] + 1)
            axes.plot(epochs, runs.mean(axis=0), style, color=colour, linewidth=2)
            floor = min(floor, float(runs[:, runs.shape[1] // 10 :].min()))
    axes.plot([], [], ":", color="black", label="train")
    axes.plot([], [], "-", color="black", label="test")
    axes.legend(frameon=False, loc="lower right")
    by_heart = numbers["none"]["final"]["train_accuracy"]["mean"] > 0.999
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(
        title="Without dropout, the training rows are learnt by heart"
        if by_heart
        else "Accuracy while training",
        xlabel="epoch",
        ylabel="accuracy, %",
        ylim=(floor - 0.5, 100.4),
    )


def _gap(axes: Any, numbers: dict[str, Any]) -> None:
    means = []
    for i, (name, colour) in enumerate(COLOURS.items()):
        gap = numbers[name]["final"]["gap"]
        means.append(100 * gap["mean"])
        axes.bar(i, means[-1], color=colour, width=0.6)
        seeds = 100 * np.asarray(gap["seeds"])
        axes.plot(np.linspace(i - 0.15, i + 0.15, len(seeds)), seeds, "o", color="black", ms=4)
    labels = [numbers[name]["label"].replace(" ", "\n", 1) for name in COLOURS]
    axes.set_xticks(range(len(labels)), labels)
    verb = "narrows" if means[1] < means[0] else "does not narrow"
    axes.set(
        title=f"Dropout {verb} the gap: {means[0]:.1f} points, then {means[1]:.1f}",
        ylabel="train minus test accuracy, points",
    )


def _change(when: str, numbers: dict[str, Any], field: str, axis: str, mark: float) -> str:
    off, on = (at(numbers[name][field], axis, mark)["mean"] for name in ("none", "dropout"))
    return f"{when}: {100 * off:.0f}% without, {100 * on:.0f}% with"


def _robustness(axes: Any, numbers: dict[str, Any], field: str, axis: str, mark: float) -> None:
    for name, colour in COLOURS.items():
        curve = numbers[name][field]
        x, mean, std = (np.asarray(curve[key]) for key in (axis, "mean", "std"))
        axes.plot(x, 100 * mean, "o-", color=colour, label=numbers[name]["label"], ms=4)
        axes.fill_between(x, 100 * (mean - std), 100 * (mean + std), color=colour, alpha=0.2)
    axes.axvline(mark, color="black", linewidth=0.8, linestyle=":")
    axes.set(ylabel="test accuracy, %", ylim=(0, 102))
