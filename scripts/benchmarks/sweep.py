"""A sweep of seeds and rates against the same runs one after another, both ways of sweeping.

Every case trains S x R networks of ``experiments._networks`` on the same random pixels: by S x R
calls of one jitted training, by a sweep with "map" and by one with "vmap". The three take turns;
what is stored is the median time and, for each way, how many times as fast as one after another.
The rounding of "vmap" is measured too: the largest difference of a test loss from the run alone.
"""

import dataclasses
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

from experiments._data.images import Split
from experiments._networks.feedforward import Net
from experiments._networks.recipe import Recipe, make_train
from jaxdrop.training import sweep


class Case(NamedTuple):
    """A grid to be trained."""

    hidden: tuple[int, ...]
    seeds: int
    rates: int
    steps: int


CASES = (Case((512, 512), 5, 1, 100), Case((50,), 20, 4, 100), Case((256, 256), 5, 3, 100))


@dataclasses.dataclass(frozen=True)
class Config:
    """Sweeps against the same runs one after another."""

    turns: int = 5
    """How often each way is timed."""
    cases: tuple[Case, ...] = CASES


def pixels() -> Split[jax.Array]:
    """Return random rows in the shape of MNIST, 2000 to train on and 500 to test on."""
    draw = np.random.RandomState(0)
    parts = []
    for rows in (2000, 500):
        parts += [draw.uniform(size=(rows, 784)), draw.randint(0, 10, rows)]
    x, y, x_test, y_test = parts
    x, x_test = x.astype(np.float32), x_test.astype(np.float32)
    return Split(*jax.device_put((x, y.astype(np.int32), x_test, y_test.astype(np.int32))))


def compare(case: Case, data: Split[jax.Array], turns: int) -> dict[str, Any]:
    """Time the three ways of one case, in turn; return the medians and the ratios."""
    train = make_train(Net(case.hidden), Recipe(steps=case.steps, evaluations=1))
    rates = jnp.linspace(0.2, 0.8, case.rates)
    alone = jax.jit(train)

    def axes() -> dict[str, jax.Array]:
        keys = jax.vmap(jax.random.key)(jnp.arange(case.seeds))
        fixed = {"input_rate": jnp.full(1, 0.2), "learning_rate": jnp.full(1, 0.05)}
        return {"key": keys, "hidden_rate": rates, **fixed}

    def one_after_another() -> np.ndarray:
        grid = axes()
        losses = [
            alone(key, 0.2 * jnp.ones(()), rate, 0.05 * jnp.ones(()), data).test_loss
            for key in grid["key"]
            for rate in grid["hidden_rate"]
        ]
        return np.asarray(jnp.stack(losses)).reshape(case.seeds, case.rates)

    def swept(way: Any) -> Callable[[], np.ndarray]:
        def call() -> np.ndarray:
            result = sweep(train, axes(), shared={"data": data}, vectorize=way)
            return result.test_loss.reshape(case.seeds, case.rates)

        return call

    ways = {"alone": one_after_another, "map": swept("map"), "vmap": swept("vmap")}
    found = {name: way() for name, way in ways.items()}  # compiles
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(turns):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            taken[name].append(time.perf_counter() - start)
    seconds = {name: float(np.median(times)) for name, times in taken.items()}
    return {
        **case._asdict(),
        "seconds": seconds,
        "times_as_fast": {way: seconds["alone"] / seconds[way] for way in ("map", "vmap")},
        "largest_difference_of_loss": {
            way: float(np.abs(found[way] - found["alone"]).max()) for way in ("map", "vmap")
        },
    }


def run(config: Config, console: Console) -> list[dict[str, Any]]:
    """Time all cases and print the table."""
    data, cases = pixels(), []
    for case in config.cases:
        with console.status(f"{case.seeds * case.rates} networks of {case.hidden}"):
            cases.append(compare(case, data, config.turns))
    console.print(table(cases))
    return cases


def table(cases: list[dict[str, Any]]) -> Table:
    """Return the cases as a table: how many times as fast as one after another."""
    out = Table(title="times as fast as one after another (medians, measured in turn)")
    for name in ("networks", "one run, ms", "map", "vmap", "vmap's rounding, nats"):
        out.add_column(name, justify="left" if name == "networks" else "right")
    for case in cases:
        runs = case["seeds"] * case["rates"]
        out.add_row(
            f"{runs} of 784-{'-'.join(map(str, case['hidden']))}-10",
            f"{case['seconds']['alone'] / runs * 1e3:.0f}",
            *(f"{case['times_as_fast'][way]:.2f}" for way in ("map", "vmap")),
            f"{case['largest_difference_of_loss']['vmap']:.1e}",
        )
    return out
