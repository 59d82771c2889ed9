"""Count the instructions of each candidate's dropout kernel in H200 machine code, without an H200.

    scripts/prng_quality --instructions

Each mix is compiled in ``where(mix(index) >= threshold, x * scale, 0)`` over a float32 array, and
so is the copy ``x * scale``. Integer instructions of the one less those of the other, divided by
the elements that a thread stores, is the cost of a random word. Runs in the environment that
``scripts/prove gpu`` makes.
"""

import collections
import glob
import json
import math
import os
import pathlib
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHAPE = (4096, 4096)
# What is not arithmetic on integers, by the first letters of its name.
_OTHER = (
    *("LD", "ST", "ULD", "S2", "CS2", "F", "HF", "HADD", "HMUL", "MUFU", "BRA", "EXIT"),
    *("NOP", "BAR", "BSSY", "BSYNC", "CALL", "RET", "R2UR", "CCTL", "DEPBAR", "WARPSYNC"),
)


def main() -> None:
    """Count, and write results/prng/instructions.json."""
    with tempfile.TemporaryDirectory() as folder:
        # Read by XLA when it is first used, hence before jax is imported.
        os.environ["XLA_FLAGS"] = f"--xla_dump_to={folder}"
        os.environ["JAX_PLATFORMS"] = "cpu"
        table = count(folder)
    import jax

    report = {
        "command": "scripts/prng_quality --instructions",
        "target": "H200 (sm_90a), compiled without one",
        "jax": jax.__version__,
        "shape": SHAPE,
        "candidates": table,
    }
    path = ROOT / "results" / "prng" / "instructions.json"
    path.write_text(json.dumps(report, indent=1) + "\n")
    for name, row in table.items():
        print(f"{name:20s} {row}")


def count(folder: str) -> dict[str, dict[str, Any]]:
    """Return the counts of each candidate; folder is where XLA dumps its PTX."""
    import jax
    import jax.numpy as jnp
    import numpy as np
    from jax.experimental import topologies
    from jax.sharding import SingleDeviceSharding

    from jaxdrop import _index
    from scripts.quality.candidates import CANDIDATES

    target = (ROOT / "scripts" / "proofs" / "h200.txtpb").read_text()
    topology = topologies.get_topology_desc(
        platform="cuda", topology_name="h200", target_config=target, topology="1x1x1"
    )
    device = SingleDeviceSharding(topology.devices[0])
    block, base = _index.locate(SHAPE, (), None)
    scale = np.float32(1 / 0.9)

    def dropout(mix: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
        def apply(x: jax.Array, words: jax.Array) -> jax.Array:
            bits = mix(_index.weyl_index(block, base, 1), None, words)
            return jnp.where(bits >= np.uint32(429496730), x * scale, np.float32(0))

        return apply

    functions = {"copy": lambda x, words: x * scale}
    functions |= {name: dropout(mix) for name, mix in CANDIDATES.items()}
    arguments = (
        jax.ShapeDtypeStruct(SHAPE, jnp.float32),
        jax.ShapeDtypeStruct((4,), jnp.uint32),
    )
    rows: dict[str, dict[str, Any]] = {}
    for name, function in functions.items():
        for old in glob.glob(folder + "/*"):
            os.remove(old)
        jitted = jax.jit(function, in_shardings=device, out_shardings=device)
        jitted.trace(*arguments).lower(lowering_platforms=("cuda",)).compile()
        ptx = max(glob.glob(folder + "/*.ptx"), key=os.path.getsize)  # the other is empty
        rows[name] = _per_element(_disassemble(ptx))
    for row in rows.values():
        row["integer over a copy"] = round(row["integer"] - rows["copy"]["integer"], 2)
    return rows


def _disassemble(ptx: str) -> str:
    tools = pathlib.Path(sys.prefix)
    cubin = ptx + ".cubin"
    subprocess.run([_tool(tools, "ptxas"), "-arch=sm_90a", ptx, "-o", cubin], check=True)
    return subprocess.run(
        [_tool(tools, "nvdisasm"), "-c", cubin], check=True, capture_output=True, text=True
    ).stdout


def _tool(prefix: pathlib.Path, name: str) -> str:
    found = sorted(prefix.glob(f"lib/python*/site-packages/nvidia/*/bin/{name}"))
    return str(found[0]) if found else name


def _per_element(sass: str) -> dict[str, Any]:
    """Integer and other instructions per stored element of the longest straight piece of code."""
    operations = re.findall(r"/\*[0-9a-f]{4}\*/\s+(?:@!?U?P\w+ )?([A-Z][A-Z0-9_.]+)", sass)
    names = [o.split(".")[0] for o in operations]
    stored = sum(_bytes(o) for o in operations if o.startswith("STG")) // 4
    if stored == 0:
        raise ValueError("this kernel stores nothing with STG; its elements cannot be counted")
    integer = [n for n in names if not n.startswith(_OTHER)]
    multiplies = sum(n.startswith(("IMAD", "UIMAD")) for n in integer)
    return {
        "elements per thread": stored,
        "integer": len(integer) / stored,
        "of these IMAD": multiplies / stored,
        "by name": dict(collections.Counter(names).most_common()),
    }


def _bytes(store: str) -> int:
    widths = [int(w) for w in re.findall(r"\.(64|128)", store)]
    return math.prod(widths) // 8 if widths else 4


if __name__ == "__main__":
    main()
