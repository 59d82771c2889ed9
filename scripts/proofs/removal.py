"""Steps that leave out what is dropped, compiled: FLOPs and launches, beside dense and masked ones.

The networks are those of ``scripts/bench removal``. FLOPs are counted before the program is
compiled; launches are kernels of the compiled one.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax

from scripts.benchmarks import removal
from scripts.proofs import hlo, report

MOST = removal.CASES["mlp"].most["blocks of 64"]["flops"]


def steps(compile: Callable[..., Any], config: removal.Config) -> list[dict[str, Any]]:
    """Compile every SGD step; compile is (f, *shapes) -> program."""
    rows: list[dict[str, Any]] = []
    for network, case in removal.CASES.items():
        shapes = jax.eval_shape(lambda case=case: case.start(config))
        key = jax.eval_shape(lambda: jax.random.key(0))
        dense = None
        for subject, loss in case.losses(config).items():
            program = removal.step(loss), shapes[0], key, shapes[1]
            counted: Any = jax.jit(program[0]).lower(*program[1:]).cost_analysis()
            flops = float(counted["flops"])
            dense = dense or flops
            rows.append(
                {
                    "network": network,
                    "dropped": subject,
                    "GFLOP": round(flops / 1e9, 1),
                    "of dense": round(flops / dense, 2),
                    "launches": hlo.launches(compile(*program).as_text()),
                }
            )
            print(rows[-1], flush=True)
    return rows


def check(rows: Sequence[dict[str, Any]], checks: report.Checks) -> None:
    """Add what is promised of the FLOPs of an MLP."""
    (found,) = (
        row["of dense"]
        for row in rows
        if (row["network"], row["dropped"]) == ("mlp", "blocks of 64")
    )
    checks.add(
        f"removal, mlp, blocks of 64: at most {MOST:g} of the dense step's FLOPs",
        found <= MOST,
        f"{found}",
    )
