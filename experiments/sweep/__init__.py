"""Sweep seeds, dropout rates and learning rates; say which rate is best, and how sure that is.

Question: which dropout rate should this network have? Every combination is trained: seeds x rates x
learning rates. For each rate the learning rate with the lowest mean error counts, since a higher
rate needs a higher learning rate; the best rate is given with its standard error over seeds, and
with the rates that are no worse within that error.

    scripts/run sweep [--rates 0 .1 .3 .5] [--learning-rates .05 .1] [--seeds N] [--steps N]
        [--hidden 256 256] [--data mnist5k|digits|mnist|fashion] [--chunk N] [--devices N]
        [--vectorize auto|vmap|map] [--part i/n] [--out DIR]

As a job array on several machines, ``--part 1/3 --vectorize map``, ``--part 2/3 ...`` and so on
share the chunks, in one --out that all of them see. Each can be stopped and started again. The same
command without --part then joins them, into the result of a single run on such a machine.

The folder gets result.json, table.csv (one line per run) and figure.png (a heat map). An
interrupted sweep resumes after its last chunk when it is called again. ``auto`` times twenty steps
both ways and takes the faster; the file says which, since the two round differently. The run time
and what was found: experiments/README.md, from results/sweep/result.json.

The errors are those on rows that were not trained on, and the same rows choose the rate: as an
estimate of the error on new data the best one is a little too low.
"""

import dataclasses
import math
from pathlib import Path
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np

from experiments._data.images import DataName, data_digest, load, on_device
from experiments._harness.result import CannotRun
from experiments._harness.runs import Vectorize, run_sweep
from experiments._harness.settings import (
    MOST,
    check_choice,
    check_counts,
    check_rates,
    check_seeds,
    refuse,
)
from experiments._harness.tick import Tick, silent
from experiments._networks.feedforward import Net
from experiments._networks.recipe import Recipe, make_train
from experiments.sweep.report import FIELDS
from experiments.sweep.report import draw as draw
from experiments.sweep.report import more_files as more_files
from experiments.sweep.report import readme_line as readme_line
from experiments.sweep.report import show as show

EVALUATIONS = 5


@dataclasses.dataclass(frozen=True)
class Config:
    """Everything that the numbers depend on, apart from versions and device."""

    seed: int = 0
    """First seed; the others count up from it."""
    seeds: int = 5
    """How many networks are trained for each pair of rates."""
    rates: tuple[float, ...] = (0.0, 0.2, 0.4, 0.5, 0.6, 0.8)
    """Probabilities of dropping a hidden unit."""
    learning_rates: tuple[float, ...] = (0.03, 0.1)
    """Learning rates at the start; each falls to an eleventh."""
    input_rate: float = 0.0
    """Probability of dropping a pixel."""
    hidden: tuple[int, ...] = (128, 128)
    """Units of the hidden layers."""
    steps: int = 2000
    """Training steps of 100 rows, a multiple of 5."""
    data: DataName = "mnist5k"
    """mnist5k and digits come with packages; the others by scripts/run fetch."""
    data_dir: str | None = None
    """Folder in which the data are looked for first."""
    vectorize: Vectorize = "auto"
    """All runs of a chunk as one batched program (vmap), one after another (map), or the faster."""
    chunk: int = 20
    """How many runs share the memory at a time, and are saved together."""
    devices: int = 1
    """Number of devices over which every chunk is split."""


def check(config: Config) -> None:
    """Raise CannotRun if a setting is invalid."""
    check_counts(config, "seeds", "steps", "chunk", "devices")
    check_seeds(config)
    if config.steps % EVALUATIONS:
        refuse("steps", config.steps, f"a multiple of {EVALUATIONS}")
    check_rates(config, "rates", "input_rate", one=True)
    if not config.learning_rates or not all(0 <= rate < math.inf for rate in config.learning_rates):
        refuse("learning_rates", config.learning_rates, "numbers of at least 0")
    if not config.hidden or not all(1 <= units <= MOST for units in config.hidden):
        refuse("hidden", config.hidden, "units of one layer or more")
    check_choice(config, "vectorize", get_args(Vectorize))
    check_choice(config, "data", get_args(DataName))
    if config.devices > len(jax.devices()):
        raise CannotRun(f"--devices is {config.devices}, and there are {len(jax.devices())}")


def ticks(config: Config) -> int:
    return config.seeds * len(config.rates) * len(config.learning_rates)


def run(
    config: Config,
    tick: Tick = silent,
    folder: Path | None = None,
    part: tuple[int, int] | None = None,
) -> dict[str, Any]:
    """Train every combination; return {"numbers": ..., "digests": ..., "config": ...}.

    Of a part train its share, keep it in the folder, and return nothing.
    """
    if part is not None and config.vectorize == "auto":
        refuse("vectorize", "auto", "map or vmap with --part: jobs might find another one faster")
    rows = load(config.data, config.data_dir)
    recipe = Recipe(steps=config.steps, evaluations=EVALUATIONS)
    net = Net(config.hidden)
    seeds = range(config.seed, config.seed + config.seeds)
    results, way = run_sweep(
        "grid",
        make_train(net, recipe),
        {
            "key": jax.vmap(jax.random.key)(jnp.arange(seeds.start, seeds.stop)),
            "hidden_rate": jnp.asarray(config.rates, jnp.float32),
            "learning_rate": jnp.asarray(config.learning_rates, jnp.float32),
            "input_rate": jnp.full(1, config.input_rate, jnp.float32),
        },
        on_device(rows),
        vectorize=config.vectorize,
        tick=tick,
        folder=folder,
        config={**dataclasses.asdict(config), "data": data_digest(rows)},
        chunk=config.chunk,
        trial=make_train(net, dataclasses.replace(recipe, steps=4 * EVALUATIONS)),
        mesh=None if config.devices == 1 else jax.make_mesh((config.devices,), ("runs",)),
        part=part,
    )
    if part is not None:
        return {}
    last = {field: getattr(results, field)[..., 0, -1].astype(float).tolist() for field in FIELDS}
    return {
        "numbers": {"last": last, "best": best(config, np.asarray(last["test_error"]))},
        "digests": {"data": data_digest(rows)},
        # What auto chose, so that reproduce does the same.
        "config": dataclasses.asdict(dataclasses.replace(config, vectorize=way)),
    }


def best(config: Config, error: np.ndarray) -> dict[str, Any]:
    """Return the best learning rate of every rate, and the best rate with its standard error.

    Args:
      config: what was swept.
      error: of shape (seeds, rates, learning rates), in %.
    """
    mean = error.mean(axis=0)
    chosen = mean.argmin(axis=1)
    runs = error[:, np.arange(len(config.rates)), chosen]
    deviation = runs.std(axis=0, ddof=1) if len(runs) > 1 else np.zeros(len(config.rates))
    standard_error = deviation / np.sqrt(len(runs))
    winner = int(runs.mean(axis=0).argmin())
    # A rate is no worse if the mean difference, seed by seed, is within two standard errors.
    gap = runs - runs[:, winner, None]
    spread = gap.std(axis=0, ddof=1) / np.sqrt(len(runs)) if len(runs) > 1 else 0 * standard_error
    return {
        "learning_rates": [config.learning_rates[i] for i in chosen],
        "error": runs.mean(axis=0).tolist(),
        "standard_error": standard_error.tolist(),
        "rate": config.rates[winner],
        "no_worse": [
            r for r, g, s in zip(config.rates, gap.mean(axis=0), spread, strict=True) if g <= 2 * s
        ],
    }
