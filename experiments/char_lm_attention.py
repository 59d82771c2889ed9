"""Does dropout of attention weights do the same to a model, computed by jaxdrop or by flax?

Question: jaxdrop draws the mask of attention weights tile by tile, flax as an array of all weights.
A transformer as in ``char_lm`` learns the same small text three times, with the same parameters at
the start and the same batches: without dropout, with jaxdrop's attention dropout, and with flax's
at the same rate; nothing else is dropped. Both have a mask for each example and head, and as their
masks differ, so do the curves. Expected: by no more than from seed to seed.

    scripts/run char_lm_attention [--rate R] [--seeds N] [--steps N] [--out DIR]

It took 6 minutes on 2 CPU cores shared with other work. Measured at rate 0.2 after 210 steps
(results/char_lm_attention/result.json), in bits per byte:

               seed   train  test   best test
    no dropout   0   2.66   3.80   3.73 at step 140
    no dropout   1   2.73   3.84   3.76 at step 140
    jaxdrop's    0   2.97   3.62   3.62 at step 210
    jaxdrop's    1   3.00   3.67   3.67 at step 196
    flax's       0   2.97   3.62   3.62 at step 210
    flax's       1   2.99   3.66   3.66 at step 210

On new text jaxdrop's ends within 0.005 of flax's for either seed; two seeds are 0.04 to 0.05 apart,
and both are 0.17 to 0.18 below no dropout. One rate, one size, two seeds, none of them tuned.
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from rich.console import Console
from rich.table import Table

from experiments._harness.result import params_digest
from experiments._harness.settings import check_counts
from experiments._harness.tick import Tick, silent
from experiments._networks import char_training
from experiments._networks.char_model import Library
from jaxdrop.training import saved_step

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ARMS: dict[str, Library | None] = {"none": None, "jaxdrop": "jaxdrop", "flax": "flax"}
LABELS = {"none": "no dropout", "jaxdrop": "jaxdrop's", "flax": "flax's"}
COLOURS = {"none": "#8c8c8c", "jaxdrop": "#56b4e9", "flax": "#d55e00"}
WIDTHS = {"none": 1.5, "jaxdrop": 5, "flax": 1.5}  # where two curves are one, both are seen


@dataclasses.dataclass(frozen=True)
class Config:
    """Everything that the numbers depend on, apart from versions and device."""

    seed: int = 0
    """The first seed of parameters, batch order and masks."""
    seeds: int = 2
    """How many seeds."""
    steps: int = 210
    """Training steps of each model, rounded up to whole epochs."""
    rate: float = 0.2
    """Dropout rate of attention weights."""
    train_bytes: int = 30_000
    """Number of bytes trained on, from the beginning of the text."""
    test_bytes: int = 10_000
    """Number of bytes tested on, from the end of the training text."""
    layers: int = 2
    """Number of transformer blocks."""
    width: int = 96
    """Width of the residual stream."""
    context: int = 64
    """Number of bytes that the model sees."""
    batch: int = 32
    """Number of windows in a step."""


def one(config: Config, seed: int) -> char_training.CharConfig:
    """Return the settings of ``char_lm`` for one seed."""
    given = dataclasses.asdict(config)
    del given["seeds"]
    return char_training.CharConfig(**given | {"seed": seed})


def seeds(config: Config) -> range:
    return range(config.seed, config.seed + config.seeds)


def check(config: Config) -> None:
    """Raise CannotRun if a setting is invalid."""
    check_counts(config, "seeds")
    char_training.check(one(config, config.seed))
    char_training.check(one(config, seeds(config)[-1]))


def ticks(config: Config) -> int:
    """Return how many steps ``run`` will report."""
    return len(ARMS) * config.seeds * char_training.epochs_and_steps(one(config, config.seed))[1]


def resume_point(config: Config, folder: Path) -> str | None:
    """Say how far the run in this folder got."""
    done = sum(saved_step(folder / name) or 0 for name, *_ in models(config))
    return f"step {done} of {ticks(config)}" if done else None


def models(config: Config) -> Iterator[tuple[str, str, int]]:
    """Yield (name, arm, seed) of each model."""
    for seed in seeds(config):
        for arm in ARMS:
            yield f"{arm}-{seed}", arm, seed


def run(config: Config, tick: Tick = silent, folder: Path | None = None) -> dict[str, Any]:
    """Train all models; return {"numbers": {arm: {seed: curves}}, "digests": ...}."""
    mesh = char_training.make_mesh(one(config, config.seed))
    seen, unseen = char_training.load(one(config, config.seed))
    numbers: dict[str, Any] = {arm: {} for arm in ARMS}
    digests: dict[str, Any] = {"data": params_digest({"seen": seen, "unseen": unseen})}
    for name, arm, seed in models(config):
        place = None if folder is None else folder / name
        library = ARMS[arm]
        attention = None if library is None else (library, config.rate)
        state, lines = char_training.train(
            one(config, seed), 0.0, seen, unseen, mesh, tick, place, attention=attention
        )
        numbers[arm][str(seed)] = char_training.summarise(lines)
        digests[name] = params_digest(jax.device_get(char_training.gathered(state.params)))
    return {"numbers": numbers, "digests": digests}


def show(result: dict[str, Any], console: Console) -> None:
    """Print losses at the end and the best test loss, of each seed."""
    table = Table(title="Bits per byte, in test mode")
    for column in ("attention dropout", "seed", "train", "test", "best test", "at step"):
        table.add_column(column, justify="right" if column != "attention dropout" else "left")
    for arm, runs in result["numbers"].items():
        for seed, curves in runs.items():
            final, best = curves["final"], curves["best"]
            losses = (final["train"], final["test"], best["test"])
            shown = (f"{loss:.3f}" for loss in losses)
            table.add_row(LABELS[arm], seed, *shown, str(best["step"]))
    console.print(table)


def draw(result: dict[str, Any], figure: "Figure") -> None:
    """Draw the loss on trained and on new text, a line for each seed, as a PNG."""
    figure.set_size_inches(9, 4.8)
    axes = figure.subplots()
    ends = {}
    for arm, runs in result["numbers"].items():
        for curves in runs.values():
            epochs = curves["epochs"]
            for name, style in (("train", ":"), ("test", "-")):
                axes.plot(
                    epochs["step"], epochs[name], style, color=COLOURS[arm], linewidth=WIDTHS[arm]
                )
        ends[arm] = float(np.mean([curves["final"]["test"] for curves in runs.values()]))
        axes.plot([], [], "-", color=COLOURS[arm], linewidth=WIDTHS[arm], label=LABELS[arm])
    axes.plot([], [], ":", color="black", label="text trained on")
    axes.plot([], [], "-", color="black", label="new text")
    axes.legend(frameon=False, ncols=2)
    config = result["config"]
    axes.set(
        xlabel="step", ylabel="bits per byte",
        title=f"Dropout of attention weights at rate {config['rate']:g}: in the end "
        f"{ends['jaxdrop']:.2f} by jaxdrop, {ends['flax']:.2f} by flax, {ends['none']:.2f} without",
    )  # fmt: skip
    axes.spines[["top", "right"]].set_visible(False)
