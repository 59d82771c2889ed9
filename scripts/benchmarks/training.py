"""scripts/bench training: fit against the bare jitted step; a sweep against runs one by one.

"bare" calls the jitted step in a loop on batches that already lie on the device. "fit" takes
batches in a new order from arrays on the host, logs every 100 steps to a folder, and updates a
progress bar. "calls" is fit with PER_CALL steps in a call, and "scan" the bare jitted loop over as
many steps, whose batches lie on the device. "parts" is the bare step in PARTS microbatches. They
take turns of 300 steps of 1 ms, or 100 of 10; the figures are medians over the turns. A checkpoint
is timed on its own: how long one more in the middle of a turn holds up the steps.
"""

import dataclasses
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from rich.console import Console
from rich.table import Table

import jaxdrop.linen
import jaxdrop.training as jt
from scripts.benchmarks import sweep

BATCH, PARTS = 128, 4
PER_CALL = WARM = 50  # steps in a call; the first call is the warm one
SIZES = {"about 1 ms": (192, 300), "about 10 ms": (1750, 100)}  # units, steps


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

    def __init__(self, units: int, steps: int):
        self.model, self.steps = MLP(units), steps
        draw = np.random.RandomState(0)
        rows = steps * BATCH
        self.data = {
            "x": draw.uniform(size=(rows, 784)).astype(np.float32),
            "y": draw.randint(0, 10, rows).astype(np.int32),
        }
        self.step = jt.make_train_step(self.loss)
        self.in_parts = jt.make_train_step(self.loss, accumulate=PARTS)
        several = jt.make_train_step(self.loss, donate=False)
        self.loop = jax.jit(
            lambda state, batches: jax.lax.scan(several, state, batches), donate_argnums=0
        )
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

    def bare(self, step: Callable[..., Any]) -> float:
        """Return the seconds of a step."""
        state, start = self.state(), 0.0
        for i in range(self.steps):
            if i == WARM:
                jax.block_until_ready(state.params)
                start = time.perf_counter()
            state, _ = step(state, self.batches[i % len(self.batches)])
        jax.block_until_ready(state.params)
        return (time.perf_counter() - start) / (self.steps - WARM)

    def scan(self) -> float:
        """Return the seconds of a step in a loop of PER_CALL steps."""
        state, start = self.state(), 0.0
        chosen = [self.batches[i % len(self.batches)] for i in range(PER_CALL)]
        batches = jax.tree.map(lambda *each: jnp.stack(each), *chosen)
        for i in range(0, self.steps, PER_CALL):
            if i == WARM:
                jax.block_until_ready(state.params)
                start = time.perf_counter()
            state, _ = self.loop(state, batches)
        jax.block_until_ready(state.params)
        return (time.perf_counter() - start) / (self.steps - WARM)

    def fit(self, save_every: int = 10**6, steps_per_call: int = 1) -> float:
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
                steps_per_call=steps_per_call,
                tick=tick,
            )
        return (moments[-1] - moments[WARM - 1]) / (self.steps - WARM)


def in_turn(ways: dict[str, Callable[[], float]], turns: int) -> dict[str, float]:
    """Call each way in turn; return the medians of what they return."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way()  # compiles
    for _ in range(turns):
        for name, way in ways.items():
            taken[name].append(way())
    return {name: float(np.median(times)) for name, times in taken.items()}


def measure(label: str, units: int, steps: int, turns: int) -> dict[str, Any]:
    case = Case(units, steps)
    ways = {
        "bare": lambda: case.bare(case.step),
        "parts": lambda: case.bare(case.in_parts),
        "scan": case.scan,
        "fit": case.fit,
        "calls": lambda: case.fit(steps_per_call=PER_CALL),
        "saving": lambda: case.fit(save_every=case.steps // 2),
    }
    seconds = in_turn(ways, turns)
    return {
        "case": "fit against the bare step",
        "step": label,
        "units": units,
        "bare_ms": seconds["bare"] * 1e3,
        "fit_ms": seconds["fit"] * 1e3,
        "overhead": seconds["fit"] / seconds["bare"] - 1,
        "scan_ms": seconds["scan"] * 1e3,
        "calls_ms": seconds["calls"] * 1e3,
        "overhead_of_calls": seconds["calls"] / seconds["scan"] - 1,
        "parts_ms": seconds["parts"] * 1e3,
        "cost_of_parts": seconds["parts"] / seconds["bare"] - 1,
        "steps_per_second": 1 / seconds["fit"],
        "one_checkpoint_ms": (seconds["saving"] - seconds["fit"]) * (case.steps - WARM) * 1e3,
    }


def run(config: Config, console: Console) -> list[dict[str, Any]]:
    cases = []
    for label, (units, steps) in SIZES.items():
        with console.status(f"fit, steps of {label}"):
            cases.append(measure(label, units, steps, config.turns))
    console.print(table(cases, "fit against the bare jitted step (medians, measured in turn)", FIT))
    console.print(table(cases, "steps_per_call against a bare loop, and accumulate", CALLS))
    if config.sweeps:
        cases += [
            {"case": "sweep against one after another", **case}
            for case in sweep.run(sweep.Config(), console)
        ]
    return cases


FIT = {
    "bare, ms": "bare_ms",
    "fit, ms": "fit_ms",
    "overhead": "overhead",
    "fit, steps/s": "steps_per_second",
    "one checkpoint, ms": "one_checkpoint_ms",
}
CALLS = {
    f"scan of {PER_CALL}, ms": "scan_ms",
    f"fit in calls of {PER_CALL}, ms": "calls_ms",
    "overhead": "overhead_of_calls",
    f"bare in {PARTS} parts, ms": "parts_ms",
    "over bare": "cost_of_parts",
}


def table(cases: list[dict[str, Any]], title: str, columns: dict[str, str]) -> Table:
    """Return some columns of the cases of fit as a table."""
    out = Table(title=title)
    for name in ("step", *columns):
        out.add_column(name, justify="left" if name == "step" else "right")
    for case in cases:
        out.add_row(case["step"], *(_number(key, case[key]) for key in columns.values()))
    return out


def _number(key: str, value: float) -> str:
    return f"{value:+.1%}" if "over" in key or "cost" in key else f"{value:.4g}"
