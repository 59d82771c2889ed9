"""scripts/bench compile: what a gradient of many layers takes to trace, lower and compile.

A layer is matmul, gelu, dropout at rate 0.1, 64 wide; the layers are an unrolled Python loop with
a key each, ``fold_in(key, i)``. Without dropout, with jaxdrop, and with flax's linen.Dropout, for
12, 48 and 96 layers, so that the growth is seen. Every turn starts from cleared caches, without a
compilation cache on disk, and the functions take turns in an order that rotates; seconds are
medians over the turns. Promised: jaxdrop takes at most as long as flax, by the median over turns of
the ratio of their totals; if not, the exit status is 1.

For the interval printed behind the ratio, the middle half of the turns, see "quartiles".
"""

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

from scripts.benchmarks import peers

WIDTH = 64
PHASES = ("trace", "lower", "compile")
SUBJECTS: dict[str, peers.Apply] = {
    "no dropout": lambda key, x: x,
    "jaxdrop": peers.drop,
    "flax": peers.flax_linen,
}
PROMISE = 1.0


@dataclasses.dataclass(frozen=True)
class Config:
    """Seconds to trace, lower and compile a gradient of many layers."""

    turns: int = 7
    """How often each is compiled afresh."""
    layers: tuple[int, ...] = (12, 48, 96)


def gradient(drop: peers.Apply, layers: int) -> Callable[..., Any]:
    """Return the gradient by the kernels: (ws, x, key) -> ..."""

    def loss(ws: jax.Array, x: jax.Array, key: jax.Array) -> jax.Array:
        for i in range(layers):
            x = drop(jax.random.fold_in(key, i), jax.nn.gelu(x @ ws[i]))
        return jnp.sum(x)

    return jax.grad(loss)


def once(drop: peers.Apply, layers: int) -> dict[str, float]:
    """Compile from cleared caches; return the seconds of each phase and the StableHLO's kB."""
    shapes = (
        jax.ShapeDtypeStruct((layers, WIDTH, WIDTH), jnp.float32),
        jax.ShapeDtypeStruct((WIDTH, WIDTH), jnp.float32),
        jax.eval_shape(lambda: jax.random.key(0)),
    )
    step = jax.jit(gradient(drop, layers))
    jax.clear_caches()
    moments = [time.perf_counter()]
    traced = step.trace(*shapes)
    moments.append(time.perf_counter())
    lowered = traced.lower()
    moments.append(time.perf_counter())
    lowered.compile()
    moments.append(time.perf_counter())
    seconds = dict(zip(PHASES, map(float, np.diff(moments)), strict=True))
    return {**seconds, "kB": len(lowered.as_text()) / 1e3}


def record(layers: int, turns: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    """Summarise the turns of one number of layers."""
    totals = {
        name: np.array([sum(turn[phase] for phase in PHASES) for turn in of])
        for name, of in turns.items()
    }
    ratios = totals["jaxdrop"] / totals["flax"]
    subjects = {
        name: {
            **{phase: float(np.median([turn[phase] for turn in of])) for phase in PHASES},
            "seconds": float(np.median(totals[name])),
            "over_flax": float(np.median(totals[name] / totals["flax"])),
            "stablehlo_kb": of[0]["kB"],
        }
        for name, of in turns.items()
    }
    return {
        "layers": layers,
        "turns": len(ratios),
        "subjects": subjects,
        "ratio": float(np.median(ratios)),
        "quartiles": [float(q) for q in np.quantile(ratios, (0.25, 0.75))],
        "promise": PROMISE,
        "kept": bool(np.median(ratios) <= PROMISE),
    }


def run(config: Config, console: Console) -> list[dict[str, Any]]:
    options: Any = jax.config  # jax adds its options when it is imported, undeclared
    cached = options.jax_enable_compilation_cache
    jax.config.update("jax_enable_compilation_cache", False)
    cases = []
    try:
        for drop in SUBJECTS.values():
            once(drop, 1)  # imports, and what a process does once
        for layers in config.layers:
            turns: dict[str, list[dict[str, float]]] = {name: [] for name in SUBJECTS}
            names = list(SUBJECTS)
            with console.status("") as status:
                for turn in range(config.turns):
                    for name in names:
                        status.update(f"{layers} layers, {turn + 1} of {config.turns}, {name}")
                        turns[name].append(once(SUBJECTS[name], layers))
                    names = names[1:] + names[:1]
            cases.append(record(layers, turns))
    finally:
        jax.config.update("jax_enable_compilation_cache", cached)
    console.print(table(cases))
    console.print(verdict(cases))
    return cases


def failed(cases: Sequence[dict[str, Any]]) -> bool:
    """Tell whether a promise was broken."""
    return not all(case["kept"] for case in cases)


def verdict(cases: Sequence[dict[str, Any]]) -> str:
    lines = []
    for case in cases:
        low, high = case["quartiles"]
        lines.append(
            f"{case['layers']} layers: {case['ratio']:.3f} times flax's, the middle half of "
            f"{case['turns']} turns {low:.3f} to {high:.3f}; promised at most "
            f"{case['promise']:g}: {'kept' if case['kept'] else 'BROKEN'}"
        )
    return "\n".join(lines)


def table(cases: Sequence[dict[str, Any]]) -> Table:
    out = Table(title="seconds to trace, lower and compile (medians, taken in turn)")
    for name in ("layers", "dropout", *PHASES, "all, s", "times flax", "StableHLO, kB"):
        out.add_column(name, justify="left" if name == "dropout" else "right")
    for case in cases:
        for name, row in case["subjects"].items():
            broken = name == "jaxdrop" and not case["kept"]
            out.add_row(
                str(case["layers"]), name, *(f"{row[phase]:.2f}" for phase in PHASES),
                f"{row['seconds']:.2f}", f"{row['over_flax']:.2f}", f"{row['stablehlo_kb']:.0f}",
                style="red" if broken else None,
            )  # fmt: skip
    return out
