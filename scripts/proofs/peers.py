"""What flax does in the cases that docs/guarantees.md lists, and what jaxdrop does there.

    scripts/prove peers

Each case is a function of a dropout (key, x, **options) -> y that returns a short sentence; the
two sentences of a case stand side by side in results/prove/peers.md.
"""

import os

# Read by XLA when its first backend starts.
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
).strip()

import time  # noqa: E402  (the environment comes first)
from collections.abc import Callable  # noqa: E402
from typing import Any  # noqa: E402

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from flax import linen, nnx  # noqa: E402
from jax.sharding import AxisType, NamedSharding  # noqa: E402
from jax.sharding import PartitionSpec as P  # noqa: E402

import jaxdrop  # noqa: E402
import jaxdrop.linen  # noqa: E402
import jaxdrop.nnx  # noqa: E402
from scripts.proofs import hlo, report, stack  # noqa: E402

RATE = 0.3
Drop = Callable[..., jax.Array]


def _linen(module: Any) -> Drop:
    return lambda key, x, rate=RATE, **options: module.Dropout(
        rate, deterministic=False, **options
    ).apply({}, x, rng=key)


def _nnx(module: Any) -> Drop:
    return lambda key, x, rate=RATE, **options: module.Dropout(
        rate, deterministic=False, **options
    )(x, rngs=key)


MODULES = {
    "flax Linen": _linen(linen),
    "flax NNX": _nnx(nnx),
    "jaxdrop": _linen(jaxdrop.linen),
}


def key() -> jax.Array:
    return jax.random.key(0)


def inputs(*shape: int) -> jax.Array:
    return jax.random.normal(jax.random.key(1), shape)


def _mesh(axis_type: AxisType) -> jax.sharding.Mesh:
    return jax.make_mesh((4, 2), ("data", "model"), axis_types=(axis_type,) * 2)


def _sharded(drop: Drop, axis_type: AxisType, **options: Any) -> str:
    mesh, x = _mesh(axis_type), inputs(16, 24)
    expected = drop(key(), x, **options)
    with jax.set_mesh(mesh):
        there = jax.device_put(x, NamedSharding(mesh, P("data", "model")))
        step = jax.jit(lambda key, x: drop(key, x, **options))
        compiled = step.lower(key(), there).compile()
        same = np.array_equal(compiled(key(), there), expected)
    sent = hlo.collectives(compiled.as_text())
    return f"{'same' if same else 'different'} bits, " + (", ".join(sent) or "no collective")


def sharding_auto(drop: Drop) -> str:
    return _sharded(drop, AxisType.Auto)


def sharding_explicit(drop: Drop) -> str:
    return _sharded(drop, AxisType.Explicit)


def sharding_explicit_broadcast(drop: Drop) -> str:
    return _sharded(drop, AxisType.Explicit, broadcast_dims=(0,))


def shard_map(drop: Drop) -> str:
    x = jnp.ones((16, 24))
    offset = drop is MODULES["jaxdrop"]

    def shard(key: jax.Array, x: jax.Array) -> jax.Array:
        if not offset:
            return drop(key, x)
        return jaxdrop.dropout(
            key, x, RATE, index_offset=(jax.lax.axis_index("data") * x.shape[0],)
        )

    with jax.set_mesh(_mesh(AxisType.Auto)):
        y = jax.jit(jax.shard_map(shard, in_specs=(P(), P("data")), out_specs=P("data")))(key(), x)
    same = np.array_equal(y, drop(key(), x))
    repeats = all(np.array_equal(y[:4], y[i : i + 4]) for i in (4, 8, 12))
    how = " (with index_offset)" if offset else ""
    return ("the global mask" if same else "one mask, repeated" if repeats else "neither") + how


def longer_batch(drop: Drop) -> str:
    x = jnp.ones((64, 32))
    same = np.array_equal(drop(key(), x[:16]), drop(key(), x)[:16])
    return "leading rows keep their mask" if same else "every row's mask changes"


def microbatches(drop: Drop) -> str:
    x = jnp.ones((64, 32))
    whole = drop(key(), x)
    if drop is MODULES["jaxdrop"]:
        second = jaxdrop.dropout(key(), x[32:], RATE, index_offset=(32,))
        return "the full batch's masks" if np.array_equal(second, whole[32:]) else "other masks"
    second = drop(key(), x[32:])
    return "the full batch's masks" if np.array_equal(second, whole[32:]) else "no offset to give"


def vmap_keys(drop: Drop) -> str:
    keys, x = jax.random.split(key(), 8), inputs(8, 64)
    same = np.array_equal(
        jax.vmap(drop)(keys, x), jnp.stack([drop(k, row) for k, row in zip(keys, x, strict=True)])
    )
    return "equals the loop" if same else "differs from the loop"


def vmap_keys_rbg(drop: Drop) -> str:
    keys, x = jax.random.split(jax.random.key(0, impl="rbg"), 8), inputs(8, 64)
    same = np.array_equal(
        jax.vmap(drop)(keys, x), jnp.stack([drop(k, row) for k, row in zip(keys, x, strict=True)])
    )
    return "equals the loop" if same else "differs from the loop"


def residuals(drop: Drop) -> str:
    x = jnp.ones((256, 256))
    pull = jax.vjp(lambda x: drop(key(), x), x)[1]
    kept = [leaf for leaf in jax.tree.leaves(pull) if isinstance(leaf, jax.Array)]
    arrays = sum(leaf.nbytes for leaf in kept if leaf.size > 4)
    return f"{arrays / x.size:g} bytes per element" if arrays else "the key"


def mask_buffers(drop: Drop) -> str:
    f = stack.stack(lambda key, x: drop(key, x), True)
    compiled = jax.jit(f).lower(*stack.stack_arguments(256, 256, jnp.float32)).compile()
    found = hlo.mask_buffers(compiled.as_text(), 256 * 256)
    return f"{len(found)} written" if found else "none"


def traced_rate(drop: Drop) -> str:
    y = jax.jit(lambda rate: drop(key(), jnp.ones((64, 64)), rate=rate))(jnp.float32(RATE))
    return f"works, {float((y == 0).mean()):.3f} dropped"


def bad_rate(drop: Drop) -> str:
    y = drop(key(), jnp.ones((64, 64)), rate=1.5)
    return f"no error; mean {float(y.mean()):.3g}"


def x64(drop: Drop) -> str:
    x = jnp.ones((64, 64), jnp.float32)
    with jax.enable_x64(False):
        off = np.asarray(drop(key(), x))
    with jax.enable_x64(True):
        on = np.asarray(drop(key(), x))
    return "same mask" if np.array_equal(off, on) else "another mask"


def key_impl_fast(drop: Drop) -> str:
    fast = jax.random.key(0, impl=jaxdrop.fast_prng_impl)
    y = drop(fast, jnp.ones((256, 256)))
    return f"works, {float((y == 0).mean()):.3f} dropped"


CASES: dict[str, Callable[[Drop], str]] = {
    "sharded input, Auto axes": sharding_auto,
    "sharded input, Explicit axes": sharding_explicit,
    "broadcast_dims on a sharded axis, Explicit axes": sharding_explicit_broadcast,
    "shard_map, replicated key": shard_map,
    "batch of 64 instead of 16 rows": longer_batch,
    "second half of a batch as a microbatch": microbatches,
    "vmap over threefry keys": vmap_keys,
    "vmap over rbg keys": vmap_keys_rbg,
    "kept for the backward pass": residuals,
    "mask buffers in a scanned 8-layer step, CPU": mask_buffers,
    "traced rate": traced_rate,
    "rate 1.5": bad_rate,
    "jax_enable_x64 turned on": x64,
    "a fast_prng_impl key": key_impl_fast,
}


def outcome(case: Callable[[Drop], str], drop: Drop) -> str:
    try:
        return case(drop)
    except Exception as error:  # what a peer raises is what this measures, whatever it is
        return f"{type(error).__name__}: {str(error).splitlines()[0][:100]}"


def vmap_cost() -> list[list[Any]]:
    """Time 256 keys with a row each against one call on all rows, the best of 60."""
    x = inputs(256, 16384)
    keys = jax.random.split(key(), 256)
    rows = []
    for name, drop in MODULES.items():
        one, many = jax.jit(drop), jax.jit(jax.vmap(drop))
        one(key(), x).block_until_ready(), many(keys, x).block_until_ready()
        times: dict[str, list[float]] = {"one": [], "many": []}
        for _ in range(60):
            for label, f, k in (("one", one, key()), ("many", many, keys)):
                start = time.perf_counter()
                f(k, x).block_until_ready()
                times[label].append(time.perf_counter() - start)
        a, b = min(times["one"]), min(times["many"])
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
