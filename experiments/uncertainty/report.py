"""The uncertainty experiment as tables in a terminal and as one figure, from the JSON alone."""

from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, RED, GREY = "#0072b2", "#d55e00", "#8c8c8c"


def show(result: dict[str, Any], console: Console) -> None:
    """Print calibration with and without sampling, and the curve's standard deviations."""
    numbers = result["numbers"]
    table = Table(title="Test rows")
    for column in ("", "accuracy", "NLL", "Brier", "ECE", "ECE, debiased"):
        table.add_column(column, justify="right" if column else "left")
    for name, label in (("weight_scaling", "weight scaling"), ("mc", "mean of samples")):
        one = numbers["test"][name]
        fields = ("nll", "brier", "ece", "debiased")
        table.add_row(label, f"{one['accuracy']:.1%}", *(f"{one[f]:.4f}" for f in fields))
    console.print(table)
    curve = numbers["curve"]
    console.print(
        f"Curve: standard deviation of the mean {curve['sigma_at_data']:.3f} at the data, "
        f"{curve['sigma_in_gap']:.3f} in the gap, {curve['sigma_outside']:.3f} outside; "
        f"{curve['covered_1_sigma']:.0%} and {curve['covered_2_sigma']:.0%} of fresh points within "
        "1 and 2 sigma."
    )
    for name, value in numbers.get("outside", {}).get("auroc", {}).items():
        console.print(f"Clothes among digits, by {name}: AUROC {value:.3f}")


def draw(result: dict[str, Any], figure: "Figure") -> None:
    """Draw the curve, the turned digit, the reliability diagram and the other images."""
    numbers = result["numbers"]
    figure.set_size_inches(12, 7.6)
    (curve, turned), (diagram, outside) = figure.subplots(2, 2)
    _curve(curve, numbers["curve"])
    _turned(turned, numbers["rotated"])
    _diagram(diagram, numbers["test"])
    if "outside" in numbers:
        _outside(outside, numbers["outside"])
    else:
        _information(outside, numbers["rotated"])
    for axes in (curve, turned, diagram, outside):
        axes.spines[["top", "right"]].set_visible(False)
        axes.title.set_fontsize(12)


def _curve(axes: Any, one: dict[str, Any]) -> None:
    x, mean, epistemic = (np.asarray(one[k]) for k in ("grid", "mean", "epistemic"))
    sigma = np.sqrt(epistemic**2 + one["noise"] ** 2)
    for times, alpha in ((2, 0.15), (1, 0.3)):
        axes.fill_between(
            x, mean - times * sigma, mean + times * sigma, color=BLUE, alpha=alpha, linewidth=0,
            label=f"{times} sigma",
        )  # fmt: skip
    axes.plot(x, one["truth"], color=GREY, linestyle="--", label="truth")
    axes.plot(x, mean, color=BLUE, linewidth=2, label="mean")
    axes.plot(*one["rows"], "o", color="black", ms=3.5, label="data")
    axes.set(
        xlim=(x[0], x[-1]), ylim=(-3.2, 3.2), xlabel="x", ylabel="y",
        title=f"Sigma of the mean: {one['sigma_at_data']:.2f} at the data, "
        f"{one['sigma_outside']:.2f} away from it",
    )  # fmt: skip
    axes.legend(frameon=False, ncols=2, loc="upper left", fontsize=9)


def _turned(axes: Any, one: dict[str, Any]) -> None:
    samples, means, angles = (np.asarray(one[k]) for k in ("some_samples", "mean", "angles"))
    for i, c in enumerate(np.argsort(-means.max(0))[:4]):
        jitter = np.random.RandomState(i).uniform(-1, 1, samples.shape[:2])
        x = angles[None] + (i - 1.5) * 3 + jitter
        axes.plot(x, samples[:, :, c], ".", color=f"C{i}", ms=3.5, alpha=0.5, markeredgewidth=0)
        axes.plot(angles, means[:, c], color=f"C{i}", linewidth=2, label=f"class {c}")
    for angle, image in zip(angles[::2], one["images"], strict=True):
        inset = axes.inset_axes((angle - 10, 1.06, 20, 0.24), transform=axes.transData)
        inset.imshow(np.asarray(image).reshape(28, 28), cmap="gray_r")
        inset.axis("off")
    axes.set(
        xlabel="a 1, turned by so many degrees", ylabel="probability, each sample a dot",
        ylim=(-0.02, 1.32), xticks=angles[::2], yticks=np.linspace(0, 1, 6),
        title="A digit is turned until the samples disagree",
    )  # fmt: skip
    axes.legend(frameon=False, fontsize=9, loc="center left")


def _diagram(axes: Any, test: dict[str, Any]) -> None:
    axes.plot([0, 1], [0, 1], color="black", linewidth=0.8, linestyle=":")
    for name, label, colour in (
        ("weight_scaling", "weight scaling", GREY),
        ("mc", "mean of samples", BLUE),
    ):
        one = test[name]
        found = one["diagram"]
        sizes = 12 + 160 * np.sqrt(np.asarray(found["count"]) / sum(found["count"]))
        axes.plot(found["confidence"], found["accuracy"], color=colour, linewidth=1.5)
        axes.scatter(found["confidence"], found["accuracy"], s=sizes, color=colour,
                     label=f"{label}: ECE {one['ece']:.3f}, NLL {one['nll']:.3f}")  # fmt: skip
    axes.set(
        xlabel="confidence", ylabel="share that is right", xlim=(0.2, 1.02), ylim=(0, 1.04),
        title="Calibration on test rows (a dot grows with its count)",
    )  # fmt: skip
    axes.legend(frameon=False, fontsize=9, loc="lower right")


def _outside(axes: Any, one: dict[str, Any]) -> None:
    top = np.quantile(one["mutual_information"], 0.995)
    bins = np.linspace(0, top, 41)
    for field, label, colour in (
        ("of_test_rows", "digits, as in training", BLUE),
        ("mutual_information", "clothes", RED),
    ):
        axes.hist(one[field], bins, color=colour, alpha=0.55, label=label)
    axes.set(
        xlabel="mutual information, nats", ylabel="images", yscale="log",
        title=f"Clothes among digits: AUROC {one['auroc']['mutual_information']:.3f}",
    )  # fmt: skip
    axes.legend(frameon=False)


def _information(axes: Any, one: dict[str, Any]) -> None:
    axes.plot(one["angles"], one["predictive_entropy"], "o-", color=GREY, label="all uncertainty")
    axes.plot(
        one["angles"], one["mutual_information"], "o-", color=BLUE, label="of the model (BALD)"
    )
    axes.set(
        xlabel="a 1, turned by so many degrees", ylabel="nats", ylim=(0, None),
        xticks=one["angles"][::2], title="How uncertain the turned digit is",
    )  # fmt: skip
    axes.legend(frameon=False)
