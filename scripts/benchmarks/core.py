"""scripts/bench core: dropout against a copy, against its peers, and peers with a fast key.

Each figure is a ratio of medians measured in turn in one run (see timing.py): how many times as
long as ``x * c`` of the same array takes. "forward" is one jitted call whose result goes into
memory that is already allocated, as in a compiled step. "call" is the same, but allocates memory
for its result, as when a jitted dropout is called on its own: all times then include allocation.
"train" is value_and_grad of ``sum(dropout(x) * w)``. Rate 0.1.

XLA makes 256-bit vectors unless told otherwise. On a processor with wider ones,
``XLA_FLAGS=--xla_cpu_prefer_vector_width=512 scripts/bench`` shows what they bring.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from rich.console import Console
from rich.table import Table

from scripts.benchmarks import peers, timing


@dataclasses.dataclass(frozen=True)
class Config:
    """Dropout against a copy and against flax, haiku and equinox."""

    seconds: float = 8.0
    """Time per case, shared by all functions in it."""
    shapes: tuple[tuple[int, int], ...] = ((512, 1024), (2048, 2048), (4096, 4096))
    """Of the arrays that are dropped."""
    dtypes: tuple[str, ...] = ("float32", "bfloat16")
    peers: tuple[str, ...] = tuple(peers.PEERS)
    """What it is compared with, with their own key and with a fast one."""


def forward(apply: peers.Apply) -> Callable[..., Any]:
    return timing.into_buffer(lambda key, x, w: apply(key, x))


def call(apply: peers.Apply) -> Callable[..., Any]:
    return timing.into_new_memory(lambda key, x, w: apply(key, x))


def train(apply: peers.Apply) -> Callable[..., Any]:
    def loss(x: jax.Array, key: Any, w: jax.Array) -> jax.Array:
        return jnp.sum(apply(key, x) * w)

    step = jax.value_and_grad(loss)
    return timing.into_buffer(lambda key, x, w: step(x, key, w))


def run(config: Config, console: Console) -> list[dict[str, Any]]:
    if unknown := set(config.peers) - set(peers.PEERS):
        raise SystemExit(f"got peers {sorted(unknown)}, expected some of {', '.join(peers.PEERS)}")
    chosen = {name: peers.PEERS[name] for name in config.peers}
    subjects = {"copy": peers.copy, "jaxdrop": peers.drop, **chosen}
    subjects |= {f"{name}, fast key": peers.with_fast_key(apply) for name, apply in chosen.items()}
    cases = []
    for mode, wrap in (("forward", forward), ("call", call), ("train", train)):
        calls = {name: wrap(apply) for name, apply in subjects.items()}
        for dtype in map(jnp.dtype, config.dtypes):
            for shape in config.shapes:
                keys = jax.random.split(jax.random.key(0), 4)
                x = [jax.random.normal(k, shape, dtype) for k in keys[:2]]
                w = jax.random.normal(keys[2], shape, dtype)
                inputs = [(keys[3], xi, w) for xi in x]
                with console.status(f"{mode} {dtype.name} {shape}"):
                    times = timing.medians(calls, inputs, x[0], seconds=config.seconds)
                cases.append(
                    {
                        "mode": mode,
                        "dtype": dtype.name,
                        "shape": list(shape),
                        "copy_ms": times["copy"] * 1e3,
                        "times_a_copy": {n: t / times["copy"] for n, t in times.items()},
                        "flax_linen_over_jaxdrop": times["flax linen"] / times["jaxdrop"],
                    }
                )
    console.print(table(cases))
    return cases


def table(cases: list[dict[str, Any]]) -> Table:
    out = Table(title="times a copy (medians, measured in turn)")
    for name in ("", "copy, ms", *cases[0]["times_a_copy"]):
        if name != "copy":
            out.add_column(name.replace(", ", "\n"), justify="right" if name else "left")
    for case in cases:
        ratios = (f"{r:.2f}" for name, r in case["times_a_copy"].items() if name != "copy")
        out.add_row(label(case), f"{case['copy_ms']:.2f}", *ratios)
    return out


def label(case: dict[str, Any]) -> str:
    return f"{case['mode']}, {case['dtype']} {'x'.join(map(str, case['shape']))}"


COLUMNS = ("jaxdrop", *peers.PEERS, "flax linen, fast key")


def markdown(cases: list[dict[str, Any]]) -> str:
    """The table as README shows it: one row per case, one column per function."""
    rows = [["", "copy, ms", *COLUMNS], ["---", *("---:" for _ in range(len(COLUMNS) + 1))]]
    for case in cases:
        ratios = (f"{case['times_a_copy'][column]:.1f}" for column in COLUMNS)
        rows.append([label(case), f"{case['copy_ms']:.2f}", *ratios])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
