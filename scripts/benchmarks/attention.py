"""scripts/bench attention: dropout in attention, time and memory, beside jax.nn and flax.

Causal or not (``--causal``), float32 by default, at rate 0.1: jaxdrop's blockwise attention with
and without dropout, ``jax.nn.dot_product_attention`` (which has none), and flax's
``linen.dot_product_attention`` with and without, one mask for each head. Forward, and the gradient
by query, key and value; calls take turns, so that what disturbs the machine disturbs all of them,
each right after one that is not timed; the ratios are medians over turns. Memory is what XLA's plan
of the program says: temporary buffers.

Promised on CPUs: dropout costs at most 1.1 times blockwise without; blockwise at most jax.nn's time
from 1024 on; at 2048, forward at most a fifth, and gradient at most half, of flax with dropout;
temporary memory that grows at most 2.2 times when the length doubles. If one is broken, the exit
status is 1. On a GPU that can run it, and with ``--dtype bfloat16``, the experimental kernel is
timed, too. flax and jax.nn are left out where their plan is larger than ``--most-memory``.
"""

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

import jaxdrop

PASSES = ("forward", "gradient")


@dataclasses.dataclass(frozen=True)
class Config:
    """Attention with and without dropout, against jax.nn and flax."""

    lengths: tuple[int, ...] = (512, 2048, 8192)
    """Queries and keys; the batch is 2048 / length, at least 1."""
    heads: int = 8
    size: int = 64
    """Of a head."""
    rate: float = 0.1
    causal: bool = False
    dtype: str = "float32"
    turns: int = 7
    """How often each is called, for a median."""
    most_memory: float = 4.0
    """GiB of temporary memory; what plans more is not run."""


def subjects(config: Config) -> dict[str, Callable[..., jax.Array]]:
    """Return functions of (random key, query, key, value)."""

    def ours(rate: float, implementation: Any = "blockwise") -> Callable[..., jax.Array]:
        def attend(key: Any, q: Any, k: Any, v: Any) -> jax.Array:
            return jaxdrop.dot_product_attention(
                q, k, v, is_causal=config.causal, dropout_rate=rate, dropout_key=key,
                implementation=implementation,
            )  # fmt: skip

        return attend

    def flax(rate: float) -> Callable[..., jax.Array]:
        def attend(key: Any, q: Any, k: Any, v: Any) -> jax.Array:
            mask = nn.make_causal_mask(jnp.ones((1, q.shape[1]))) if config.causal else None
            return nn.dot_product_attention(
                q, k, v, mask=mask, dropout_rng=key, dropout_rate=rate, broadcast_dropout=False
            )

        return attend

    found = {
        "jaxdrop, dropout": ours(config.rate),
        "jaxdrop": ours(0.0),
        "jax.nn": lambda key, q, k, v: jax.nn.dot_product_attention(
            q, k, v, is_causal=config.causal
        ),
        "flax, dropout": flax(config.rate),
        "flax": flax(0.0),
    }
    hopper = getattr(jax.devices()[0], "compute_capability", None) == "9.0"
    if hopper and config.dtype in ("bfloat16", "float16"):
        found["pallas"] = ours(config.rate, "pallas")
    return found


def gradient(attend: Callable[..., jax.Array]) -> Callable[..., Any]:
    def loss(key: Any, q: Any, k: Any, v: Any) -> jax.Array:
        return jnp.sum(jnp.sin(attend(key, q, k, v).astype(jnp.float32)))

    return jax.grad(loss, argnums=(1, 2, 3))


def run(config: Config, console: Console) -> list[dict[str, Any]]:
    cases = []
    with console.status("") as status:
        for length in config.lengths:
            for name in PASSES:
                cases.append(measure(config, length, name, status.update))
    console.print(table(cases))
    console.print(verdict(cases))
    return cases


def measure(config: Config, length: int, name: str, say: Callable[[str], None]) -> dict[str, Any]:
    """Time one pass at one length."""
    shape = (max(1, 2048 // length), length, config.heads, config.size)
    key, *parts = jax.random.split(jax.random.key(0), 4)
    inputs = key, *(jax.random.normal(part, shape).astype(config.dtype) for part in parts)
    compiled, memory = {}, {}
    for subject, attend in subjects(config).items():
        say(f"{length}, {name}: compiling {subject}")
        call = attend if name == "forward" else gradient(attend)
        program = jax.jit(call).lower(*inputs).compile()
        memory[subject] = plan(program)
        if memory[subject] <= config.most_memory * 2**30:
            compiled[subject] = program
    for program in compiled.values():
        jax.block_until_ready(program(*inputs))
    taken: dict[str, list[float]] = {subject: [] for subject in compiled}
    for turn in range(config.turns):
        say(f"{length}, {name}: turn {turn + 1} of {config.turns}")
        for subject, program in compiled.items():
            # Once more, untimed: flax's takes up to a GiB and gives it back to the system, and the
            # next call, whosever it is, would pay for getting pages anew.
            jax.block_until_ready(program(*inputs))
            start = time.perf_counter()
            jax.block_until_ready(program(*inputs))
            taken[subject].append(time.perf_counter() - start)
    seconds = {subject: np.array(times) for subject, times in taken.items()}
    ours = seconds["jaxdrop, dropout"]
    return {
        "length": length,
        "batch": shape[0],
        "pass": name,
        "subjects": {
            subject: {
                "ms": float(np.median(seconds[subject]) * 1e3) if subject in seconds else None,
                "over_ours": float(np.median(seconds[subject] / ours))
                if subject in seconds
                else None,
                "temporary_mib": memory[subject] / 2**20,
            }
            for subject in memory
        },
    }


def plan(program: Any) -> int:
    """The bytes of temporary buffers that XLA's plan has."""
    return program.memory_analysis().temp_size_in_bytes


def promises(cases: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what is promised, what was measured, and whether it was kept."""
    found = []

    def add(what: str, value: float | None, most: float) -> None:
        if value is not None:
            found.append({"what": what, "value": value, "most": most, "kept": value <= most})

    memory: dict[str, list[tuple[int, float]]] = {name: [] for name in PASSES}
    for case in cases:
        length, of = case["length"], case["subjects"]
        where = f"{case['pass']}, {length}"
        plain = of["jaxdrop"]["over_ours"]
        add(f"{where}: dropout over none, blockwise", 1 / plain, 1.1)
        if length >= 1024 and of["jax.nn"]["ms"]:
            add(f"{where}: blockwise over jax.nn", plain / of["jax.nn"]["over_ours"], 1.0)
        if length == 2048 and of["flax, dropout"]["ms"]:
            most = 1 / 5 if case["pass"] == "forward" else 1 / 2
            add(f"{where}: over flax with dropout", 1 / of["flax, dropout"]["over_ours"], most)
        of_one = of["jaxdrop, dropout"]["temporary_mib"] / case["batch"]
        memory[case["pass"]].append((length, of_one))
    for name, points in memory.items():
        for (short, less), (long, more) in zip(points, points[1:], strict=False):
            growth = (more / less) ** (1 / math.log2(long / short))
            add(f"{name}, {short} to {long}: memory for a doubled length", growth, 2.2)
    return found


def failed(cases: Sequence[dict[str, Any]]) -> bool:
    """Tell whether a promise was broken."""
    return not all(promise["kept"] for promise in promises(cases))


def verdict(cases: Sequence[dict[str, Any]]) -> str:
    return "\n".join(
        f"{promise['what']}: {promise['value']:.2f}, promised at most {promise['most']:g}: "
        f"{'kept' if promise['kept'] else 'BROKEN'}"
        for promise in promises(cases)
    )


def markdown(cases: Sequence[dict[str, Any]]) -> str:
    """Return rows for docs/attention.md: times over ours with dropout, and memory."""

    def over(row: dict[str, Any]) -> str:
        return "not run" if row["over_ours"] is None else f"{row['over_ours']:.2f}"

    rows = []
    for case in cases:
        of = case["subjects"]
        cells = [f"{case['length']}, {case['pass']}"]
        cells += [over(of[name]) for name in ("jaxdrop", "jax.nn", "flax, dropout")]
        cells += [f"{of[n]['temporary_mib']:.0f}" for n in ("jaxdrop, dropout", "flax, dropout")]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def table(cases: Sequence[dict[str, Any]]) -> Table:
    out = Table(title="attention: medians of calls taken in turn")
    for name in ("length", "batch", "pass", "", "ms", "times ours with dropout", "temporary, MiB"):
        out.add_column(name, justify="left" if name in ("", "pass") else "right")
    for case in cases:
        for name, row in case["subjects"].items():
            ran = row["ms"] is not None
            out.add_row(
                str(case["length"]), str(case["batch"]), case["pass"], name,
                f"{row['ms']:.0f}" if ran else "not run",
                f"{row['over_ours']:.2f}" if ran else "-",
                f"{row['temporary_mib']:.0f}",
            )  # fmt: skip
        out.add_section()
    return out
