"""Count the instructions of each candidate's dropout kernel in H200 machine code, without an H200.

    scripts/prng_quality --instructions

Each mix is compiled in ``where(mix(index) >= threshold, x * scale, 0)`` over a float32 array, and
so is the copy ``x * scale``. Integer instructions of the one less those of the other, divided by
the elements that a thread stores, is the cost of a random word. Runs in the environment that
``scripts/prove gpu`` makes.
"""

import json
import pathlib
from collections.abc import Callable
from typing import Any

from scripts.proofs import gpu  # before jax: it sets what XLA reads when it is first used

# ruff: isort: split
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import SingleDeviceSharding

from jaxdrop._core import index
from scripts.quality.candidates import CANDIDATES

PATH = pathlib.Path(__file__).resolve().parents[2] / "results" / "prng" / "instructions.json"
SHAPE = (4096, 4096)
SCALE = np.float32(1 / 0.9)


def dropout(mix: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    """Return dropout at rate 0.1 with this mix, as a function of key words and x."""
    block, base = index.block_layout(SHAPE, (), None)

    def apply(words: jax.Array, x: jax.Array) -> jax.Array:
        bits = mix(index.weyl_index(block, base, 1), None, words)
        return jnp.where(bits >= np.uint32(429496730), x * SCALE, np.float32(0))

    return apply


def main() -> None:
    """Count, and write results/prng/instructions.json."""
    device = SingleDeviceSharding(gpu.devices("1x1x1")[0])
    functions = {"copy": lambda words, x: x * SCALE}
    functions |= {name: dropout(mix) for name, mix in CANDIDATES.items()}
    words = jax.ShapeDtypeStruct((4,), jnp.uint32)
    x = jax.ShapeDtypeStruct(SHAPE, jnp.float32)
    rows: dict[str, dict[str, Any]] = {}
    for name, function in functions.items():
        row: dict[str, Any] = dict(gpu.count_instructions(device, function, words, x))
        over = row["integer"] - (rows["copy"] if rows else row)["integer"]
        rows[name] = row | {"integer over a copy": round(over, 2)}
        print(f"{name:20s} {rows[name]}", flush=True)
    report = {
        "command": "scripts/prng_quality --instructions",
        "target": "H200 (sm_90a), compiled without one",
        "jax": jax.__version__,
        "shape": SHAPE,
        "candidates": rows,
    }
    PATH.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
