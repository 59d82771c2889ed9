"""scripts/bench mc: T samples with dropout on against T forward passes with dropout off.

A ReLU network 784-units-units-10 with ``flax.nnx.Dropout`` after each hidden layer, as most trained
models have it; samples by ``jaxdrop.mc``. Both sides are one compiled program, whose results are
kept: T samples, and T deterministic passes one after another, each made to depend on the one
before, so that XLA cannot compute it just once. "loop" is T calls of the jitted deterministic
model, "flax" the samples of flax's own layers, everything else the same. Each figure is a ratio of
medians of runs that take turns. Memory is what XLA reports for the compiled program, without its
result.
"""

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from rich.console import Console
from rich.table import Table

from jaxdrop import mc, surgery
from jaxdrop.mc._predict import _predict
from jaxdrop.mc._sampling_plan import make_plan

CASES = ((512, 128), (1024, 128), (1024, 32))  # units, batch


@dataclasses.dataclass(frozen=True)
class Config:
    """MC dropout against as many deterministic passes."""

    samples: int = 1000
    """T."""
    chunk_size: int = 8
    """Samples computed at a time."""
    seconds: float = 60.0
    """Time per case, shared by all functions in it; each runs at least three times."""


class Net(nnx.Module):
    def __init__(self, units: int):
        rngs = nnx.Rngs(0)
        self.first = nnx.Linear(784, units, rngs=rngs)
        self.second = nnx.Linear(units, units, rngs=rngs)
        self.out = nnx.Linear(units, 10, rngs=rngs)
        self.drops = nnx.List([nnx.Dropout(0.5, rngs=rngs) for _ in range(2)])

    def __call__(self, x: Any) -> Any:
        x = self.drops[0](nnx.relu(self.first(x)))
        return self.out(self.drops[1](nnx.relu(self.second(x))))


def run(config: Config, console: Console) -> list[dict[str, Any]]:
    cases = []
    for units, batch in CASES:
        with console.status(f"{units} units, batch {batch}"):
            cases.append(measure(units, batch, config))
    console.print(table(cases))
    return cases


def measure(units: int, batch: int, config: Config) -> dict[str, Any]:
    x = jnp.asarray(np.random.RandomState(0).standard_normal((batch, 784)), jnp.float32)
    flax, ours = Net(units), Net(units)
    surgery.replace(ours)
    flax.eval()
    one = jax.jit(lambda x: flax(x))

    @jax.jit
    def passes(x: jax.Array) -> jax.Array:
        def step(x: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
            y = flax(x)
            return x.at[0, 0].add(1e-6 * y[0, 0]), y

        return jax.lax.scan(step, x, length=config.samples)[1]

    def sample(model: Net) -> Callable[[], Any]:
        f, key = mc.sampler(model), jax.random.key(1)
        return lambda: mc.mc_predict(f, key, x, config.samples, chunk_size=config.chunk_size)

    calls: dict[str, Callable[[], Any]] = {
        "passes": lambda: passes(x),
        "loop": lambda: [one(x) for _ in range(config.samples)],
        "jaxdrop": sample(ours),
        "flax": sample(flax),
    }
    times = medians(calls, config.seconds)
    return {
        "units": units,
        "batch": batch,
        "samples": config.samples,
        "pass_ms": 1e3 * times["passes"] / config.samples,
        "times_the_passes": {name: t / times["passes"] for name, t in times.items()},
        "temporary_bytes": {
            str(count): memory(ours, x, count, config.chunk_size)
            for count in (config.samples // 10, config.samples, 10 * config.samples)
        },
    }


def medians(calls: dict[str, Callable[[], Any]], seconds: float) -> dict[str, float]:
    """Return the median seconds of each function; they take turns, after a warm-up."""
    for call in calls.values():
        jax.block_until_ready(call())
    taken: dict[str, list[float]] = {name: [] for name in calls}
    stop = time.perf_counter() + seconds
    while len(next(iter(taken.values()))) < 3 or time.perf_counter() < stop:
        for name, call in calls.items():
            start = time.perf_counter()
            jax.block_until_ready(call())
            taken[name].append(time.perf_counter() - start)
    return {name: float(np.median(t)) for name, t in taken.items()}


def memory(model: Net, x: jax.Array, samples: int, chunk_size: int) -> int:
    """Return the bytes of the compiled program's temporaries."""
    key = jax.random.key(0)
    f, key, plan = make_plan(model, key, samples, chunk_size, False, None, "mc_predict")
    analysis: Any = _predict.lower(f, key, x, plan).compile().memory_analysis()
    return analysis.temp_size_in_bytes


def table(cases: list[dict[str, Any]]) -> Table:
    out = Table(title=f"{cases[0]['samples']} samples, times as many deterministic passes")
    for name in ("units", "batch", "a pass, ms", "jaxdrop", "flax", "loop of calls"):
        out.add_column(name, justify="right")
    counts = list(cases[0]["temporary_bytes"])
    out.add_column("temporaries, MB, for T =\n" + " / ".join(counts), justify="right")
    for case in cases:
        ratios = (f"{case['times_the_passes'][k]:.2f}" for k in ("jaxdrop", "flax", "loop"))
        held = " / ".join(f"{b / 1e6:.1f}" for b in case["temporary_bytes"].values())
        out.add_row(str(case["units"]), str(case["batch"]), f"{case['pass_ms']:.2f}", *ratios, held)
    return out
