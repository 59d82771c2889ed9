"""Memory peaks of eight layers of matmul, gelu and dropout with gradients, each in a process.

    python -m scripts.proofs.device.memory DROPOUT unrolled|scanned ROWS WIDTH

prints those of one. A peak never falls while a process lives, hence one process for each.
"""

import json
import subprocess
import sys
from typing import Any

from scripts.proofs import report
from scripts.proofs.device.piece import Size, found

LAYERS = ("unrolled", "scanned")
DROPOUTS = ("none", "jaxdrop", "flax", "flax, checkpoint")


def peak(dropout: str, layers: str, rows: int, width: int) -> dict[str, Any]:
    """Compile and run one stack; return its memory and what lies there."""
    import jax
    import jax.numpy as jnp

    from scripts.proofs import hlo, stack

    row: dict[str, Any] = {"layers": layers, "dropout": dropout}
    if dropout not in stack.DROPS:
        return row | {"peak MiB": "not run: needs flax"}
    shapes = stack.stack_arguments(rows, width, jnp.bfloat16)
    ws, x = (jnp.ones(s.shape, s.dtype) for s in shapes[:2])
    lowered = jax.jit(stack.stack(stack.DROPS[dropout], layers == "scanned")).lower(*shapes)
    step = lowered.compile()
    jax.block_until_ready(step(ws, x, jax.random.key(0)))
    told = jax.devices()[0].memory_stats() or {}
    analysis: Any = step.memory_analysis()
    text: Any = step.as_text()
    return row | {
        "peak MiB": round(told["peak_bytes_in_use"] / 2**20, 1) if told else "not told",
        "temporary MiB": round(analysis.temp_size_in_bytes / 2**20, 1),
        "mask buffers": len(hlo.mask_buffers(text, rows * width)),
        "fusions": hlo.fusions(text),
    }


def claims(rows: list[dict[str, Any]], checks: report.Checks) -> None:
    """Compare the rows of "jaxdrop" with those of "none"."""
    for layers in LAYERS:
        of = {row["dropout"]: row for row in rows if row["layers"] == layers}
        if not of:
            continue
        ours, none = of["jaxdrop"], of["none"]
        masks = ours["mask buffers"]
        checks.add(f"eight layers, {layers}: no mask in memory", masks == 0, f"{masks} masks")
        for what in ("peak MiB", "temporary MiB"):
            if isinstance(ours[what], float):
                checks.add(
                    f"eight layers, {layers}: {what} within 2% of no dropout",
                    ours[what] <= 1.02 * none[what],
                    f"{ours[what]} ({none[what]} without dropout)",
                )


def run(size: Size) -> dict[str, Any]:
    shape = ("512", "256") if size.small else ("16384", "4096")
    layers, dropouts = (LAYERS[:1], DROPOUTS[:2]) if size.small else (LAYERS, DROPOUTS)
    rows = []
    for one in layers:
        for dropout in dropouts:
            command = [sys.executable, "-P", "-m", "scripts.proofs.device.memory", dropout, one]
            done = subprocess.run([*command, *shape], stdout=subprocess.PIPE, check=True)
            rows.append(json.loads(done.stdout))
    checks = report.Checks()
    claims(rows, checks)
    return found(checks.rows, **{f"Eight layers of {' x '.join(shape)}, bfloat16": rows})


if __name__ == "__main__":
    print(json.dumps(peak(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))))
