"""Networks of the dropout paper trained from every seed, at every rate that is asked for."""

import dataclasses
from pathlib import Path
from typing import Any

import jax

from experiments._data.images import Split
from experiments._harness.runs import run_sweep
from experiments._harness.tick import Tick
from experiments._networks.feedforward import Net
from experiments._networks.mnist_config import MnistConfig, axes
from experiments._networks.recipe import Measure, Recipe, errors, make_train


def train_networks(
    name: str,
    config: MnistConfig,
    net: Net,
    recipe: Recipe,
    data: tuple[Split[jax.Array], str],
    *,
    tick: Tick,
    folder: Path | None,
    measure: Measure = errors,
    more: dict[str, Any] | None = None,
    **rates: Any,
) -> Any:
    """Return what measure returns, with an axis for the seeds and one for each of the rates.

    Args:
      name: of these runs in the experiment.
      config: names the seeds, and how the runs are vectorised.
      net, recipe, measure: as in ``make_train``.
      data: what ``load_rows`` returned, the rows and their digest.
      tick, folder: as in ``run_sweep``.
      more: what else the results depend on.
      rates: the values of input_rate, hidden_rate and learning_rate, an axis each, in this order.
    """
    rows, digest = data
    found, _ = run_sweep(
        name,
        make_train(net, recipe, measure),
        axes(config, **rates),
        rows,
        vectorize=config.vectorize,
        tick=tick,
        folder=folder,
        config={"data": digest, **dataclasses.asdict(recipe), **(more or {})},
    )
    return found
