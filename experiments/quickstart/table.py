"""The quickstart's result as tables in a terminal."""

from typing import Any

from rich.console import Console
from rich.table import Table


def show(result: dict[str, Any], console: Console) -> None:
    """Print accuracy and robustness, then what a training step removes."""
    numbers, config = result["numbers"], result["config"]
    main = Table(
        title=f"Accuracy on {config['data']}, %: mean ± standard deviation over "
        f"{config['seeds']} seeds"
    )
    main.add_column("dropout", no_wrap=True)
    for column in ("train", "test", "gap", "half the\nunits off", "noise\n0.6"):
        main.add_column(column, justify="right")
    zeros = Table(title="Exact zeros in a training step, counted example by example, %")
    zeros.add_column("dropout", no_wrap=True)
    for column in ("rate", "of all\nunits", "of active\nunits", "of active units'\ngradients"):
        zeros.add_column(column, justify="right")
    for arm in numbers.values():
        final, name = arm["final"], arm["label"].removeprefix("dropout ")
        main.add_row(
            name,
            *(percent(final[key]) for key in ("train_accuracy", "test_accuracy", "gap")),
            percent(at(arm["removal"], "share", 0.5)),
            percent(at(arm["noise"], "sigma", 0.6)),
        )
        zeros.add_row(name)
        for layer in arm["zeros"]:
            shares = ("rate", "zero_activations", "removed_of_active", "zero_gradient_of_active")
            zeros.add_row(f"  {layer['layer']}", *(f"{100 * layer[k]:.1f}" for k in shares))
        zeros.add_section()
    console.print(main)
    console.print(zeros)
    console.print(
        "Active: not already zero because of the ReLU or a blank pixel. Gradients: those of all "
        "the weights that leave the unit."
    )


def at(curve: dict[str, Any], axis: str, value: float) -> dict[str, float]:
    """Return mean and std of a curve at one point of its axis."""
    i = curve[axis].index(value)
    return {"mean": curve["mean"][i], "std": curve["std"][i]}


def percent(number: dict[str, float]) -> str:
    return f"{100 * number['mean']:.1f}±{100 * number['std']:.1f}"
