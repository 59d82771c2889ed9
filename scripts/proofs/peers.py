"""What flax does in the cases that docs/guarantees.md lists, and what jaxdrop does there.

    scripts/prove peers

Each case is a function of a dropout (key, x, **options) -> y that returns a short sentence; the
sentences of a case stand side by side in results/prove/peers.md.
"""

import os

# Read by XLA when its first backend starts.
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
).strip()

# ruff: noqa: E402  (the environment comes first)
from collections.abc import Callable
from typing import Any

import jax

from scripts.benchmarks import timing
from scripts.proofs import peer_cases as cases
from scripts.proofs import peer_meshes as meshes
from scripts.proofs import report
from scripts.proofs.peer_drops import MODULES, Drop, inputs, key
from scripts.proofs.peer_transforms import SLOPES, transforms

CASES: dict[str, Callable[[Drop], str]] = {
    "sharded input, Auto axes": meshes.sharding_auto,
    "sharded input, Explicit axes": meshes.sharding_explicit,
    "broadcast_dims on a sharded axis, Explicit axes": meshes.sharding_explicit_broadcast,
    "uneven shards inside jit": meshes.uneven_shards,
    "shard_map, replicated key": meshes.shard_map,
    "two processes": meshes.two_processes,
    "pmap over keys": meshes.pmap,
    "batch of 64 instead of 16 rows": cases.longer_batch,
    "second half of a batch as a microbatch": cases.microbatches,
    "vmap over threefry keys": cases.vmap_keys,
    "vmap over rbg keys": cases.vmap_keys_rbg,
    f"mask of the gradient under {', '.join(SLOPES)}": transforms,
    "jax.export with a symbolic batch": cases.exported,
    "jax_debug_key_reuse": cases.key_reuse,
    "kept for the backward pass": cases.residuals,
    "mask buffers in a scanned 8-layer step, CPU": cases.mask_buffers,
    "traced rate": cases.traced_rate,
    "rate 1.5": cases.bad_rate,
    "jax_enable_x64 turned on": cases.x64,
    "a fast_prng_impl key": cases.key_impl_fast,
}


def outcome(case: Callable[[Drop], str], drop: Drop) -> str:
    try:
        return case(drop)
    except Exception as error:  # whatever a peer raises is the result
        return f"{type(error).__name__}: {str(error).splitlines()[0][:100]}"


def vmap_cost(seconds: float = 10.0) -> list[list[Any]]:
    """Time 256 keys with a row each against one call on all rows: medians, measured in turn."""
    x = inputs(256, 16384)
    keys = jax.random.split(key(), 256)
    calls = {}
    for name, drop in MODULES.items():
        calls[name] = timing.into_buffer(lambda one, many, x, drop=drop: drop(one, x))
        calls[f"{name}, vmap"] = timing.into_buffer(
            lambda one, many, x, drop=drop: jax.vmap(drop)(many, x)
        )
    taken = timing.medians(calls, [(key(), keys, x)], x, seconds=seconds)
    rows = []
    for name in MODULES:
        a, b = taken[name], taken[f"{name}, vmap"]
        rows.append([name, round(a * 1e3, 2), round(b * 1e3, 2), round(b / a, 2)])
    return rows


def main() -> int:
    found = {
        name: {who: outcome(case, drop) for who, drop in MODULES.items()}
        for name, case in CASES.items()
    }
    cost = vmap_cost()
    head = ["library", "one call, ms", "vmap over 256 keys, ms", "ratio"]
    versions = report.versions("jax", "jaxlib", "flax")
    data = {
        "command": "scripts/prove peers",
        "versions": versions,
        "device": jax.devices()[0].device_kind,
        "cases": found,
        "vmap over keys": [dict(zip(head, row, strict=True)) for row in cost],
    }
    lines = report.table(["case", *MODULES], [[name, *row.values()] for name, row in found.items()])
    print(lines)
    text = [
        "# What flax and jaxdrop do in the cases of docs/guarantees.md\n",
        "Made by `scripts/prove peers`, " + ", ".join(f"{k} {v}" for k, v in versions.items()),
        "on 8 CPU devices.\n",
        lines,
        "## vmap over 256 keys against one call, float32, 256 x 16384\n",
        report.table(head, cost),
    ]
    report.write("peers", data, "\n".join(text))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
