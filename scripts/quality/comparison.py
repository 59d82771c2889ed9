"""Compare the candidates: what the battery says of them, and their time on the CPU over a copy.

    scripts/prng_quality --candidates
    scripts/prng_quality --times

Time is the median of calls of ``where(mix(index) >= threshold, x * scale, 0)``, in the form in
which dropout computes it (keep_where), divided by that of ``x * scale``, for float32 arrays, all
measured in turn (scripts/benchmarks/timing.py). The battery's sizes are ``CANDIDATE`` in
battery.py.
"""

import json
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdrop._core import index
from jaxdrop._core.keep_where import keep_where
from jaxdrop._core.key import key_words
from scripts.benchmarks import timing
from scripts.quality import battery
from scripts.quality.candidates import CANDIDATES, Mix
from scripts.quality.generator import Mixed, fixed_key
from scripts.quality.verdict import failures

SHAPES = ((1024, 1024), (2048, 2048), (8192, 2048))
WEAK = ((0, 0, 0, 0), (65535, 0, 0, 0), (1 << 31, 0, 0, 0))  # key words with few bits set
SECONDS = 12.0  # of measuring, for each shape


def test_all(path: pathlib.Path, versions: dict[str, str]) -> None:
    """Run the battery on every candidate; write the JSON file."""
    rows = {}
    for name, mix in CANDIDATES.items():
        findings = battery.run(Mixed(mix), battery.CANDIDATE)
        rows[name] = {
            "p-values": len(findings),
            "fails": {f"{f.test}, {f.case}": f.p for f in failures(findings)},
            "smallest p": min(f.p for f in findings),
        }
        rows[name]["fails with weak key words"] = {
            str(words): sorted(
                {f.test for f in failures(battery.run(_fixed(mix, words), battery.ONE_KEY))}
            )
            for words in WEAK
        }
        print(name, rows[name], flush=True)
    _write(path, "scripts/prng_quality --candidates", versions, rows)


def time_all(path: pathlib.Path, versions: dict[str, str]) -> None:
    """Time every candidate; write the JSON file."""
    times = {f"{rows}x{width}": time_over_copy((rows, width)) for rows, width in SHAPES}
    rows = {name: {shape: row[name] for shape, row in times.items()} for name in CANDIDATES}
    for name, row in rows.items():
        print(name, row)
    _write(path, "scripts/prng_quality --times", versions, rows)


def _fixed(mix: Mix, words: tuple[int, ...]) -> Mixed:
    return Mixed(lambda low, high, _: mix(low, high, jnp.asarray(words, jnp.uint32)))


def _write(path: pathlib.Path, command: str, versions: dict[str, str], rows: Any) -> None:
    report = {"command": command, "versions": versions, "candidates": rows}
    path.write_text(json.dumps(report, indent=1) + "\n")


def time_over_copy(shape: tuple[int, ...]) -> dict[str, float]:
    """Median time of dropout with each mix, divided by that of a copy."""
    block, base = index.block_layout(shape, (), None)
    scale = np.float32(1 / 0.9)

    def dropout(mix: Mix) -> Callable[..., jax.Array]:
        def apply(x: jax.Array, words: jax.Array) -> jax.Array:
            bits = mix(index.weyl_index(block, base, 1), None, words)
            return keep_where(bits >= np.uint32(429496730), x, scale)

        return timing.into_buffer(apply)

    calls = {"copy": timing.into_buffer(lambda x, words: x * scale)}
    calls |= {name: dropout(mix) for name, mix in CANDIDATES.items()}
    words = key_words(fixed_key(700))
    x = [jnp.full(shape, value, jnp.float32) for value in (1.0, 2.0)]
    times = timing.medians(calls, [(a, words) for a in x], x[0], seconds=SECONDS)
    return {name: round(t / times["copy"], 2) for name, t in times.items()}
