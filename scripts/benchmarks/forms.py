"""scripts/bench forms: why keep_where is not ``where`` on a CPU.

The same mask in three loops, as times a copy: the plain ``where(mask, x * c, 0)``; the integer
minimum with XLA's own rounding; and keep_where, which also rounds bfloat16 without a branch. The
smallest shape fits into the first-level cache, where a load that has to wait for its mask costs
little. Forward, rate 0.1; medians measured in turn (see timing.py).
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from rich.console import Console
from rich.table import Table

import jaxdrop
from jaxdrop._core.keep_where import keep_where
from scripts.benchmarks import peers, timing

SHAPES = ((4, 1024), (512, 1024), (2048, 2048), (4096, 4096))
DTYPES = (jnp.float32, jnp.bfloat16)


@dataclasses.dataclass(frozen=True)
class Config:
    """The mask applied by where and by keep_where."""

    seconds: float = 3.0
    """Time per case, shared by all forms."""


def masked(form: Callable[..., jax.Array]) -> Callable[..., Any]:
    def call(key: Any, x: jax.Array) -> jax.Array:
        factor = jnp.asarray(1 / (1 - peers.RATE), x.dtype)
        return form(jaxdrop.keep_mask(key, x.shape, peers.RATE), x, factor)

    return timing.into_buffer(call)


def where(mask: jax.Array, x: jax.Array, factor: jax.Array) -> jax.Array:
    return jnp.where(mask, x * factor, jnp.zeros((), x.dtype))


def minimum(mask: jax.Array, x: jax.Array, factor: jax.Array) -> jax.Array:
    return keep_where(mask, x * factor)


FORMS = {"where": where, "minimum": minimum, "keep_where": keep_where}


def run(config: Config, console: Console) -> list[dict[str, Any]]:
    calls = {"copy": timing.into_buffer(peers.copy)}
    calls |= {name: masked(form) for name, form in FORMS.items()}
    cases = []
    for dtype in DTYPES:
        for shape in SHAPES:
            keys = jax.random.split(jax.random.key(0), 3)
            x = [jax.random.normal(k, shape, dtype) for k in keys[:2]]
            times = timing.medians(calls, [(keys[2], a) for a in x], x[0], seconds=config.seconds)
            cases.append(
                {
                    "dtype": jnp.dtype(dtype).name,
                    "shape": list(shape),
                    "copy_us": times["copy"] * 1e6,
                    "times_a_copy": {n: t / times["copy"] for n, t in times.items()},
                }
            )
    console.print(table(cases))
    return cases


def table(cases: list[dict[str, Any]]) -> Table:
    out = Table(title="times a copy (medians, measured in turn)")
    for name in ("", "copy, us", *FORMS):
        out.add_column(name, justify="right" if name else "left")
    for case in cases:
        ratios = (f"{case['times_a_copy'][form]:.2f}" for form in FORMS)
        label = f"{case['dtype']} {'x'.join(map(str, case['shape']))}"
        out.add_row(label, f"{case['copy_us']:.1f}", *ratios)
    return out
