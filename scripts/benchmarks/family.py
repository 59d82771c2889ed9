"""scripts/bench family: members over a copy, layers over plain ones, cells over bare ones.

Members: float32, 2048 x 2048 (as maps: 64 x 32 x 32 x 64), rate 0.1. "forward" is one jitted call
over ``x * c``; "backward" is the gradient by x alone, given that of y, over ``w * c``. Element-wise
members promise at most 2. drop_block and cutout look at neighbours and are measured without a
promise. Left out: ``patch_dropout`` and ``layer_drop``, which save time instead of taking it.

Learned rates, one for each feature: 512 x 1024, the gradient by x and the rates, over ``w * c``.

Layers: 512 x 512 inputs and kernel, over ``x @ kernel``; "train" is the gradient by both. One mask
an example is 512 times as many random bits, hence its ratio.

Cells: 256 units over 64 steps of 32 sequences, inputs and state (or candidate) dropped at rate 0.25
by masks fixed over time, against the same loop around the bare cell: ``nn.RNN``, ``nnx.RNN`` and
``lax.scan``. "train" is the gradient by inputs and parameters. They promise at most 1.1.

Ratios are of medians measured in turn (see timing.py).
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from rich.console import Console
from rich.table import Table

from scripts.benchmarks import recurrent, timing
from scripts.members import RECORDS
from scripts.members._timed import TIMED_RATE, TIMED_SHAPE

PROMISE = {"element-wise": 2.0, "cell": 1.1}


@dataclasses.dataclass(frozen=True)
class Config:
    """Every member of the family over a copy, and recurrent cells over bare ones."""

    seconds: float = 20.0
    """Time for each table of cases and mode, shared by all functions in it."""
    shape: tuple[int, int] = TIMED_SHAPE
    """Of what the members drop; as maps, any number of 32 x 32 x 64."""
    learned: tuple[int, int] = (512, 1024)
    """Of what is dropped at learned rates."""
    size: int = 512
    """Rows, inputs and outputs of the layers."""
    cells: tuple[int, int, int] = (32, 64, 256)
    """Sequences, steps and units of the cells."""
    only: tuple[str, ...] = ()
    """Names in the table; without any, all are timed."""

    def times(self, name: str) -> bool:
        """Say whether what has this name in the table is to be timed."""
        return not self.only or name in self.only


TIMED = [timed for record in RECORDS for timed in record.timed]
ELEMENTS = [timed for timed in TIMED if timed.kind in ("element-wise", "neighbours")]
LEARNED = [timed for timed in TIMED if timed.kind == "learned"]
LAYERS = [timed for timed in TIMED if timed.kind == "layer"]


def forward(apply: Callable[..., jax.Array]) -> Callable[..., Any]:
    return timing.into_buffer(lambda key, x, w: apply(key, x))


def backward(apply: Callable[..., jax.Array]) -> Callable[..., Any]:
    def gradient(key: Any, x: jax.Array, w: jax.Array) -> jax.Array:
        return jax.vjp(lambda x: apply(key, x), x)[1](w)[0]

    return timing.into_buffer(gradient)


def learned_cases(config: Config) -> list[dict[str, Any]]:
    x, g, spare = (jax.random.normal(jax.random.key(i), config.learned) for i in range(3))
    learned = [one for one in LEARNED if config.times(one.name)]

    def wrap(apply: Callable[..., jax.Array], start: Any) -> Callable[..., Any]:
        def gradient(key: Any, x: jax.Array, g: jax.Array) -> Any:
            rates = jnp.full(x.shape[-1], start)
            by_x, by_rates = jax.vjp(lambda x, p: apply(key, x, p), x, rates)[1](g)
            return by_rates, by_x

        return timing.into_buffer(gradient)

    calls = {"copy": timing.into_buffer(lambda key, x, g: g * (1 / (1 - TIMED_RATE)))}
    calls |= {one.name: wrap(one.apply, one.start) for one in learned}
    inputs = [(jax.random.key(3), a, g) for a in (x, spare)]
    times = timing.medians(calls, inputs, x, seconds=config.seconds)
    return [
        record(one.name, "backward", "learned", times[one.name], times["copy"]) for one in learned
    ]


def layer_cases(mode: str, config: Config) -> list[dict[str, Any]]:
    keys = jax.random.split(jax.random.key(1), 4)
    x, w, g, spare = (jax.random.normal(k, (config.size, config.size)) for k in keys)
    layers = [one for one in LAYERS if config.times(one.name)]

    def wrap(layer: Callable[..., jax.Array]) -> Callable[..., Any]:
        if mode == "forward":
            return timing.into_buffer(lambda key, x, w, g: layer(key, x, w))
        return timing.into_buffer(
            lambda key, x, w, g: jax.vjp(lambda x, w: layer(key, x, w), x, w)[1](g)
        )

    calls = {"plain": wrap(lambda key, x, w: x @ w)}
    calls |= {one.name: wrap(one.apply) for one in layers}
    inputs = [(keys[0], a, w, g) for a in (x, spare)]
    times = timing.medians(calls, inputs, x, seconds=config.seconds)
    return [record(one.name, mode, "layer", times[one.name], times["plain"]) for one in layers]


def check(config: Config) -> None:
    """Stop if a name is not one of the table."""
    names = [*(timed.name for timed in TIMED), *recurrent.LOOPS]
    if unknown := [name for name in config.only if name not in names]:
        raise SystemExit(f"got {unknown[0]!r} in only, expected one of: {'; '.join(names)}")


def run(config: Config, console: Console) -> list[dict[str, Any]]:
    check(config)
    keys = jax.random.split(jax.random.key(0), 4)
    x = [jax.random.normal(k, config.shape) for k in keys[:2]]
    w = jax.random.normal(keys[2], config.shape)
    cases: list[dict[str, Any]] = []
    for mode, wrap in (("forward", forward), ("backward", backward)):
        calls = {"copy": wrap(lambda key, x: x * (1 / (1 - TIMED_RATE)))}
        chosen = [
            one
            for one in ELEMENTS
            if config.times(one.name) and (mode == "forward" or one.backward)
        ]
        calls |= {one.name: wrap(one.apply) for one in chosen}
        with console.status(f"{mode}, {len(calls)} functions, {config.seconds:g} s and compiling"):
            inputs = [(keys[3], one, w) for one in x]
            times = timing.medians(calls, inputs, x[0], seconds=config.seconds)
        cases += [
            record(one.name, mode, one.kind, times[one.name], times["copy"]) for one in chosen
        ]
    with console.status(f"learned rates, {config.seconds:g} s and compiling"):
        cases += learned_cases(config)
    for mode in ("forward", "train"):
        with console.status(f"layers, {mode}, {config.seconds:g} s and compiling"):
            cases += layer_cases(mode, config)
    for mode in ("forward", "train"):
        with console.status(f"cells, {mode}, {config.seconds:g} s and compiling"):
            loops = list(filter(config.times, recurrent.LOOPS))
            times = recurrent.times(mode, config.seconds, loops, config.cells) if loops else {}
        cases += [record(name, mode, "cell", times[name], times[f"{name}, bare"]) for name in loops]
    console.print(table(cases))
    return cases


def record(name: str, mode: str, kind: str, seconds: float, baseline: float) -> dict[str, Any]:
    promise, ratio = PROMISE.get(kind), seconds / baseline
    return {
        "name": name,
        "mode": mode,
        "kind": kind,
        "ms": seconds * 1e3,
        "baseline_ms": baseline * 1e3,
        "ratio": ratio,
        "promise": promise,
        "kept": None if promise is None else ratio <= promise,
    }


def table(cases: list[dict[str, Any]]) -> Table:
    out = Table(title="times a copy, a plain layer or a bare cell (medians, measured in turn)")
    for name in ("", "mode", "kind", "ms", "ratio", "at most"):
        out.add_column(name, justify="left" if name in ("", "mode", "kind") else "right")
    for case in cases:
        promise = "" if case["promise"] is None else f"{case['promise']:g}"
        style = "red" if case["kept"] is False else None
        out.add_row(
            case["name"], case["mode"], case["kind"], f"{case['ms']:.2f}", f"{case['ratio']:.2f}",
            promise, style=style,
        )  # fmt: skip
    return out
