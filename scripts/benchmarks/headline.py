"""The table at the head of README and of the benchmarks page, made from stored results."""

import json
from pathlib import Path
from typing import Any

from experiments._harness.markdown import row


def stored(results: Path, name: str) -> dict[str, Any]:
    return json.loads((results / name).read_text(encoding="utf-8"))


def table(results: Path) -> str:
    """Return one line for each claim: jaxdrop, flax, and the command that printed both."""
    lines = [*steps(results), forward(results), memory(results), *attention(results)]
    lines.append(removal(results))
    head = [row(["", "jaxdrop", "flax", "printed by"]), row(["---", "---:", "---:", "---"])]
    return "\n".join([*head, *map(row, lines)])


def steps(results: Path) -> list[list[str]]:
    return [
        [
            f"training step of a small transformer, {case['dtype']}, times that without dropout",
            f"{case['times_no_dropout']['jaxdrop']:.2f}",
            f"{case['times_no_dropout']['flax']:.2f}",
            "`scripts/bench model`",
        ]
        for case in stored(results, "bench/model.json")["cases"]
    ]


def forward(results: Path) -> list[str]:
    wanted = {"mode": "forward", "dtype": "float32", "shape": [2048, 2048]}
    cases = stored(results, "bench/core.json")["cases"]
    (case,) = [c for c in cases if {name: c[name] for name in wanted} == wanted]
    return [
        "one call, forward, float32 2048x2048, times a copy",
        f"{case['times_a_copy']['jaxdrop']:.1f}",
        f"{case['times_a_copy']['flax linen']:.1f}",
        "`scripts/bench core`",
    ]


def memory(results: Path) -> list[str]:
    wanted = {"dtype": "bfloat16", "layers": "unrolled"}
    stack = stored(results, "prove/gpu.json")["stack"]
    over = {
        one["dropout"]: one["over none"]
        for one in stack
        if {name: one[name] for name in wanted} == wanted
    }
    return [
        "memory of eight layers and their gradient, bfloat16, compiled for an H200 (not run)",
        over["jaxdrop"],
        over["flax"],
        "`scripts/prove gpu`",
    ]


def attention(results: Path) -> list[list[str]]:
    cases = stored(results, "bench/attention.json")["cases"]
    (case,) = [c for c in cases if (c["length"], c["pass"]) == (2048, "forward")]
    ours, theirs = (case["subjects"][name] for name in ("jaxdrop, dropout", "flax, dropout"))
    what = "attention with dropout, 2048 long, forward"
    command = "`scripts/bench attention`"
    return [
        [f"{what}, ms", f"{ours['ms']:.0f}", f"{theirs['ms']:.0f}", command],
        [
            f"{what}, MiB",
            f"{ours['temporary_mib']:.0f}",
            f"{theirs['temporary_mib']:.0f}",
            command,
        ],
    ]


def removal(results: Path) -> list[str]:
    cases = stored(results, "bench/removal.json")["cases"]
    ratios = {case["name"]: case["ratio"] for case in cases}
    return [
        "SGD step of an MLP, half of the units left out, times that without dropout "
        f"(with masks {ratios['mlp, masked, time']:.2f})",
        f"{ratios['mlp, units, time']:.2f}",
        "-",
        "`scripts/bench removal`",
    ]
