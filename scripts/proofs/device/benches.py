"""The suites of scripts/bench at the sizes of a device, and what they make of its bandwidth.

A suite that is new belongs here and in ``piece.py``, unless its answer is the same on every device.
"""

from typing import Any

from rich.console import Console

from scripts.benchmarks import attention as attended
from scripts.benchmarks import compile as compiled
from scripts.benchmarks import core as calls
from scripts.benchmarks import family as members
from scripts.benchmarks import model as transformer
from scripts.benchmarks import removal as left_out
from scripts.benchmarks import sweep
from scripts.proofs import report
from scripts.proofs.device.piece import Size, found

BYTES = {"float32": 4, "bfloat16": 2}
ARRAYS = {"forward": 2, "call": 2, "train": 3}  # read or written by a copy and by dropout alike
SHOWN = ("jaxdrop", "flax linen", "flax linen, fast key")


def bandwidths(cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Turn times into GB/s, and into shares of the fastest copy of all cases."""
    rows = []
    for case in cases:
        moved = ARRAYS[case["mode"]] * BYTES[case["dtype"]] * case["shape"][0] * case["shape"][1]
        gb = {name: moved / case["copy_ms"] / 1e6 / t for name, t in case["times_a_copy"].items()}
        rows.append((case, gb))
    fastest = max(gb["copy"] for _, gb in rows)
    return [
        {
            "call": calls.label(case),
            "copy, GB/s": round(gb["copy"]),
            **{f"{name}, times a copy": round(case["times_a_copy"][name], 2) for name in SHOWN},
            "jaxdrop, GB/s": round(gb["jaxdrop"]),
            "share of the fastest copy": f"{gb['jaxdrop'] / fastest:.0%}",
        }
        for case, gb in rows
    ]


def core(size: Size) -> dict[str, Any]:
    peers = ("flax linen",)
    config = calls.Config(1.5, ((4096, 4096), (8192, 16384)), peers=peers)
    if size.small:
        config = calls.Config(0, ((32, 128),), ("bfloat16",), peers)
    return found(**{"Calls": bandwidths(calls.run(config, Console()))})


def model(size: Size) -> dict[str, Any]:
    config = transformer.Config(5, layers=12, width=768, heads=12, length=1024, vocabulary=16384)
    if size.small:
        config = transformer.Config(0, 1, 16, 2, length=8, vocabulary=16, dtypes=("float32",))
    rows = [
        {
            "dtype": case["dtype"],
            "no dropout, ms": round(case["ms"]["no dropout"], 2),
            **{
                f"{name}, times that": round(case["times_no_dropout"][name], 3)
                for name in transformer.COLUMNS
            },
            "steps": case["turns"],
        }
        for case in transformer.run(config, Console())
    ]
    title = f"{config.layers} blocks of {config.width}, {config.batch} x {config.length} tokens"
    return found(**{f"A step of {title}": rows})


def family(size: Size) -> dict[str, Any]:
    config = members.Config(6, (8192, 8192), (8192, 8192), 2048)
    if size.small:
        only = ("dropout", "concrete_dropout, learned", "drop_connect_dense", "lax.scan, LSTM")
        config = members.Config(0, (64, 1024), (16, 64), 32, (2, 3, 4), only)
    checks, rows = report.Checks(), []
    for case in members.run(config, Console()):
        ratio, promise = round(case["ratio"], 2), case["promise"]
        rows.append({n: case[n] for n in ("name", "mode", "kind")} | {"times plain": ratio})
        if promise is not None:
            claim = f"{case['name']}, {case['mode']}: at most {promise:g} times plain"
            checks.add(claim, case["kept"], str(ratio))
    return found(checks.rows, **{"Members, layers and cells": rows})


def attention(size: Size) -> dict[str, Any]:
    config = attended.Config((2048, 8192), dtype="bfloat16", turns=20)
    if size.small:
        config = attended.Config((32,), heads=1, size=8, turns=1)
    rows = [
        {"length": case["length"], "pass": case["pass"], "subject": name}
        | {n: v if v is None else round(v, 3) for n, v in row.items()}
        for case in attended.run(config, Console())
        for name, row in case["subjects"].items()
    ]
    return found(**{f"Attention, {config.dtype}": rows})


def removal(size: Size) -> dict[str, Any]:
    config = left_out.Config(turns=20)
    if size.small:
        config = left_out.Config(4, 128, tokens=4, model=128, images=2, turns=1, only=("mlp",))
    checks, rows = report.Checks(), []
    for case in left_out.run(config, Console()):
        ratio, promise = round(case["ratio"], 3), case["promise"]
        rows.append({"step": case["name"], "of dense": ratio})
        if promise is not None:
            checks.add(f"{case['name']}: at most {promise:g} of dense", case["kept"], str(ratio))
    return found(checks.rows, **{"Steps": rows})


def compiling(size: Size) -> dict[str, Any]:
    config = compiled.Config(1, (2,)) if size.small else compiled.Config(3, (12, 48))
    checks, rows = report.Checks(), []
    for case in compiled.run(config, Console()):
        claim = f"{case['layers']} layers compile in at most the time of flax's"
        checks.add(claim, case["kept"], f"{case['ratio']:.2f} times")
        seconds = {f"{n}, s": round(row["seconds"], 2) for n, row in case["subjects"].items()}
        rows.append({"layers": case["layers"], **seconds})
    return found(checks.rows, **{"Trace, lower and compile": rows})


def sweeps(size: Size) -> dict[str, Any]:
    config = sweep.Config(1, (sweep.Case((8,), 2, 1, 2),)) if size.small else sweep.Config(3)
    rows = [
        {
            "networks": f"{case['seeds'] * case['rates']} of {'-'.join(map(str, case['hidden']))}",
            "one by one, s": round(case["seconds"]["alone"], 3),
            **{f"{way}, times as fast": round(f, 2) for way, f in case["times_as_fast"].items()},
            "vmap's rounding, nats": f"{case['largest_difference_of_loss']['vmap']:.1e}",
        }
        for case in sweep.run(config, Console())
    ]
    return found(**{"Sweeps": rows})
