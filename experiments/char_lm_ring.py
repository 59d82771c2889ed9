"""Does a transformer learn the same, with its sequences split over devices?

Question: with jaxdrop a mask belongs to the place of a byte in the text and not to a device. A
transformer as in ``char_lm``, with dropout everywhere and of attention weights too, learns a small
text twice, from the same parameters and batches: on one device, and with each window split by
length over four of them, inside ``shard_map``. Its attention is ``jaxdrop.ring_attention``; its
other layers are told the mesh axes once, by ``mesh_axes``. Expected: the same loss, step for step,
to the rounding of sums that are taken in another order.

    XLA_FLAGS=--xla_force_host_platform_device_count=4 scripts/run char_lm_ring

The flag makes four devices of a CPU; with four GPUs it is not needed (not run on any). It took 4
minutes on 2 CPU cores shared with other work. Measured after 140 steps, at rate 0.2
(results/char_lm_ring/result.json), in bits per byte:

                 train    test
    one device   3.654   3.882
    split        3.654   3.882

Losses of a training step are 9.5e-07 apart at step 10, 9.5e-07 at most.
"""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh
from rich.console import Console
from rich.table import Table

from experiments._harness.result import CannotRun, params_digest
from experiments._harness.settings import check_counts
from experiments._harness.tick import Tick, silent
from experiments._networks import char_training
from experiments._networks.char_model import SPLIT
from jaxdrop.training import saved_step

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ARMS = {"whole": "one device", "split": "split"}
COLOURS = {"whole": "#56b4e9", "split": "#d55e00"}
WIDTHS = {"whole": 5, "split": 1.5}  # where two curves are one, both are seen


@dataclasses.dataclass(frozen=True)
class Config:
    """Everything that the numbers depend on, apart from versions and device."""

    seed: int = 0
    """Seed of parameters, batch order and masks."""
    steps: int = 140
    """Training steps of each model, rounded up to whole epochs."""
    devices: int = 4
    """How many devices share each window."""
    rate: float = 0.2
    """Dropout rate of everything: embeddings, attention weights, both branches and whole ones."""
    train_bytes: int = 30_000
    """Number of bytes trained on, from the beginning of the text."""
    test_bytes: int = 10_000
    """Number of bytes tested on, from the end of the training text."""
    layers: int = 2
    """Number of transformer blocks."""
    width: int = 96
    """Width of the residual stream."""
    context: int = 64
    """Number of bytes that the model sees, a multiple of the devices."""
    batch: int = 32
    """Number of windows in a step."""


def of_model(config: Config) -> char_training.CharConfig:
    """Return the settings of ``char_lm``."""
    given = dataclasses.asdict(config)
    del given["devices"]
    return char_training.CharConfig(**given)


def check(config: Config) -> None:
    """Raise CannotRun if a setting is invalid."""
    check_counts(config, "devices")
    char_training.check(of_model(config))
    if config.context % config.devices:
        raise CannotRun(
            f"--devices is {config.devices}, which does not divide --context {config.context}"
        )
    if (seen := jax.device_count()) < config.devices:
        raise CannotRun(
            f"--devices is {config.devices}, and jax sees {seen}; on a CPU, "
            f"XLA_FLAGS=--xla_force_host_platform_device_count={config.devices} before the command "
            "makes as many"
        )


def make_mesh(config: Config) -> Mesh:
    """Return a mesh of the devices that share a window."""
    return jax.make_mesh(
        (1, config.devices), SPLIT, axis_types=(AxisType.Auto,) * 2,
        devices=jax.devices()[: config.devices],
    )  # fmt: skip


def ticks(config: Config) -> int:
    """Return how many steps ``run`` will report."""
    return len(ARMS) * char_training.epochs_and_steps(of_model(config))[1]


def resume_point(config: Config, folder: Path) -> str | None:
    """Say how far the run in this folder got."""
    done = sum(saved_step(folder / arm) or 0 for arm in ARMS)
    return f"step {done} of {ticks(config)}" if done else None


def run(config: Config, tick: Tick = silent, folder: Path | None = None) -> dict[str, Any]:
    """Train both models; return {"numbers": {arm: curves, "apart": ...}, "digests": ...}."""
    mesh, model = make_mesh(config), of_model(config)
    seen, unseen = char_training.load(model)
    digests: dict[str, Any] = {"data": params_digest({"seen": seen, "unseen": unseen})}
    numbers: dict[str, Any] = {}
    losses = {"whole": char_training.loss_fn, "split": char_training.split_loss_fn(mesh)}
    for arm, loss_fn in losses.items():
        state, lines = char_training.train(
            model, config.rate, seen, unseen, mesh if arm == "split" else None, tick,
            None if folder is None else folder / arm, loss_fn, attention=("ring", config.rate),
        )  # fmt: skip
        numbers[arm] = char_training.summarise(lines)
        digests[arm] = params_digest(jax.device_get(char_training.gathered(state.params)))
    whole, split = (np.array(numbers[arm]["steps"]["loss"]) for arm in ARMS)
    numbers["apart"] = np.abs(whole - split).tolist()
    return {"numbers": numbers, "digests": digests}


def show(result: dict[str, Any], console: Console) -> None:
    """Print losses at the end, and how far they are apart."""
    table = Table(title="Bits per byte, in test mode")
    for column in ("sequences", "train", "test"):
        table.add_column(column, justify="right" if column != "sequences" else "left")
    for arm, label in ARMS.items():
        final = result["numbers"][arm]["final"]
        table.add_row(label, *(f"{final[name]:.3f}" for name in ("train", "test")))
    console.print(table)
    steps, apart = result["numbers"]["whole"]["steps"]["step"], result["numbers"]["apart"]
    console.print(
        f"Losses of a training step are {apart[0]:.1e} apart at step {steps[0]}, "
        f"{max(apart):.1e} at most."
    )


def draw(result: dict[str, Any], figure: "Figure") -> None:
    """Draw both losses, and how far they are apart, as a PNG."""
    numbers = result["numbers"]
    figure.set_size_inches(9, 4.8)
    losses, gaps = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    for arm, label in ARMS.items():
        steps = numbers[arm]["steps"]
        losses.plot(
            steps["step"], steps["loss"], color=COLOURS[arm], linewidth=WIDTHS[arm], label=label
        )
    gaps.plot(numbers["whole"]["steps"]["step"], numbers["apart"], color="black")
    losses.legend(frameon=False)
    losses.set(
        ylabel="bits per byte",
        title=f"Sequences split over {result['config']['devices']} devices, dropout at rate "
        f"{result['config']['rate']:g}: losses are {max(numbers['apart']):.1e} apart at most",
    )
    gaps.set(xlabel="step", ylabel="difference")
    for axes in (losses, gaps):
        axes.spines[["top", "right"]].set_visible(False)
