"""scripts/bench training: fit against the bare jitted step; a sweep against runs one by one.

"bare" calls the jitted step in a loop on batches that already lie on the device. "fit" takes
batches in a new order from arrays on the host, logs every 100 steps to a folder, and updates a
progress bar. The two take turns of STEPS steps; the figures are medians over the turns. A
checkpoint is timed on its own: how long one more in the middle of a turn holds up the steps.
"""

import dataclasses
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import optax
from rich.console import Console
from rich.table import Table

import jaxdrop.linen
import jaxdrop.training as jt
from scripts.benchmarks import sweep

STEPS, WARM, BATCH = 60, 10, 128
UNITS = {"about 1 ms": 96, "about 10 ms": 1750}


@dataclasses.dataclass(frozen=True)
class Config:
    """What fit adds to a step, and what a sweep saves."""

    turns: int = 9
    """How often each is timed."""
    sweeps: bool = True
    """Also time sweeps against the same runs one after another."""


class MLP(nn.Module):
    units: int

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        for _ in range(2):
            x = nn.relu(nn.Dense(self.units)(x))
            x = jaxdrop.linen.Dropout(0.5, deterministic=not train)(x)
        return nn.Dense(10)(x)


class Case:
    """A network of some size, its data, and the two ways of training it."""

    def __init__(self, units: int):
        self.model = MLP(units)
        draw = np.random.RandomState(0)
        rows = STEPS * BATCH
        self.data = {
            "x": draw.uniform(size=(rows, 784)).astype(np.float32),
            "y": draw.randint(0, 10, rows).astype(np.int32),
        }
        self.step = jt.make_train_step(self.loss)
        self.batches = [
            jax.device_put(jax.tree.map(lambda a, i=i: a[i * BATCH :][:BATCH], self.data))
            for i in range(8)
        ]

    def loss(self, variables: Any, batch: Any, key: jax.Array) -> jax.Array:
        logits: Any = self.model.apply(variables, batch["x"], train=True, rngs={"dropout": key})
        return optax.softmax_cross_entropy_with_integer_labels(logits, batch["y"]).mean()

    def state(self) -> jt.TrainState:
        params = self.model.init(jax.random.key(0), self.data["x"][:1], train=False)["params"]
        return jt.TrainState.create(
            apply_fn=self.model.apply,
            params=params,
            tx=optax.sgd(0.01, momentum=0.9),
            dropout_key=jax.random.key(1),
        )

    def bare(self) -> float:
        """Return the seconds of a step."""
        state, start = self.state(), 0.0
        for i in range(STEPS):
            if i == WARM:
                jax.block_until_ready(state.params)
                start = time.perf_counter()
            state, _ = self.step(state, self.batches[i % len(self.batches)])
        jax.block_until_ready(state.params)
        return (time.perf_counter() - start) / (STEPS - WARM)

    def fit(self, save_every: int) -> float:
        """Return the seconds from step WARM to the last, per step."""
        moments: list[float] = []

        def tick(n: int) -> None:
            moments.extend([time.perf_counter()] * n)

        with tempfile.TemporaryDirectory() as folder:
            jt.fit(
                self.state(),
                self.loss,
                self.data,
                seed=0,
                epochs=1,
                batch_size=BATCH,
                folder=Path(folder) / "run",
                save_every=save_every,
                tick=tick,
            )
        return (moments[-1] - moments[WARM - 1]) / (STEPS - WARM)


def in_turn(ways: dict[str, Callable[[], float]], turns: int) -> dict[str, float]:
    """Call each way in turn; return the medians of what they return."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way()  # compiles
    for _ in range(turns):
        for name, way in ways.items():
            taken[name].append(way())
    return {name: float(np.median(times)) for name, times in taken.items()}


def measure(label: str, units: int, turns: int) -> dict[str, Any]:
    case = Case(units)
    ways = {
        "bare": case.bare,
        "fit": lambda: case.fit(save_every=10 * STEPS),
        "saving": lambda: case.fit(save_every=STEPS // 2),
    }
    seconds = in_turn(ways, turns)
    return {
        "case": "fit against the bare step",
        "step": label,
        "units": units,
        "bare_ms": seconds["bare"] * 1e3,
        "fit_ms": seconds["fit"] * 1e3,
        "overhead": seconds["fit"] / seconds["bare"] - 1,
        "steps_per_second": 1 / seconds["fit"],
        "one_checkpoint_ms": (seconds["saving"] - seconds["fit"]) * (STEPS - WARM) * 1e3,
    }


def run(config: Config, console: Console) -> list[dict[str, Any]]:
    cases = []
    for label, units in UNITS.items():
        with console.status(f"fit, steps of {label}"):
            cases.append(measure(label, units, config.turns))
    console.print(table(cases))
    if config.sweeps:
        cases += [
            {"case": "sweep against one after another", **case}
            for case in sweep.run(sweep.Config(), console)
        ]
    return cases


def table(cases: list[dict[str, Any]]) -> Table:
    """Return the cases of fit as a table."""
    out = Table(title="fit against the bare jitted step (medians, measured in turn)")
    columns = ("step", "bare, ms", "fit, ms", "overhead", "fit, steps/s", "one checkpoint, ms")
    for name in columns:
        out.add_column(name, justify="left" if name == "step" else "right")
    for case in cases:
        out.add_row(
            case["step"],
            f"{case['bare_ms']:.2f}",
            f"{case['fit_ms']:.2f}",
            f"{case['overhead']:+.1%}",
            f"{case['steps_per_second']:.0f}",
            f"{case['one_checkpoint_ms']:.0f}",
        )
    return out
