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

from collections.abc import Callable  # noqa: E402  (the environment comes first)
from typing import Any  # noqa: E402

import jax  # noqa: E402
import jax.export  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from flax import linen, nnx  # noqa: E402
from jax.sharding import AxisType, NamedSharding  # noqa: E402
from jax.sharding import PartitionSpec as P  # noqa: E402

import jaxdrop  # noqa: E402
import jaxdrop.linen  # noqa: E402
import jaxdrop.nnx  # noqa: E402
from scripts.benchmarks import timing  # noqa: E402
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


def uneven_shards(drop: Drop) -> str:
    mesh, x = _mesh(AxisType.Auto), inputs(10, 24)

    def step(key: jax.Array, x: jax.Array) -> jax.Array:
        x = jax.lax.with_sharding_constraint(x, NamedSharding(mesh, P("data")))
        return drop(key, x)

    return "same bits" if np.array_equal(jax.jit(step)(key(), x), drop(key(), x)) else "other bits"


def _gradient_mask(lift: Callable[[Callable[..., Any]], Callable[..., Any]], drop: Drop) -> bool:
    """Whether the gradient of ``lift(drop)`` is 0 exactly where its output is."""
    x = jnp.ones((32, 32))
    f = lift(lambda x: drop(key(), x))
    return np.array_equal(jax.grad(lambda x: f(x).sum())(x) == 0, f(x) == 0)


def _scanned(f: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x: jax.lax.scan(lambda c, _: (c, f(c)), x, None, length=2)[1][0]


def transforms(drop: Drop) -> str:
    lifts = {
        "jit": jax.jit,
        "remat": jax.checkpoint,
        "vmap": jax.vmap,
        "scan": _scanned,
        "cond": lambda f: lambda x: jax.lax.cond(x[0, 0] > 0, f, jnp.zeros_like, x),
    }
    wrong = [name for name, lift in lifts.items() if not _gradient_mask(lift, drop)]
    return "the forward mask" if not wrong else f"another mask under {', '.join(wrong)}"


def pmap(drop: Drop) -> str:
    keys, x = jax.random.split(key(), 8), inputs(8, 64)
    loop = jnp.stack([drop(k, row) for k, row in zip(keys, x, strict=True)])
    return "equals the loop" if np.array_equal(jax.pmap(drop)(keys, x), loop) else "differs"


def exported(drop: Drop) -> str:
    (rows,) = jax.export.symbolic_shape("rows")
    shape = jax.ShapeDtypeStruct((rows, 8), jnp.float32)
    words = jax.ShapeDtypeStruct((2,), jnp.uint32)

    def step(data: jax.Array, x: jax.Array) -> jax.Array:
        return drop(jax.random.wrap_key_data(data, impl="threefry2x32"), x)

    blob = jax.export.export(jax.jit(step))(words, shape).serialize()
    x = inputs(6, 8)
    again = jax.export.deserialize(blob).call(jax.random.key_data(key()), x)
    return "same bits" if np.array_equal(again, drop(key(), x)) else "other bits"


def key_reuse(drop: Drop) -> str:
    with jax.debug_key_reuse(True):
        k, x = jax.random.key(3), jnp.ones((8, 8))
        jax.jit(jax.grad(lambda x: drop(k, x).sum()))(x)
    return "quiet in a gradient"


CASES: dict[str, Callable[[Drop], str]] = {
    "uneven shards inside jit": uneven_shards,
    "mask of the gradient under jit, remat, vmap, scan, cond": transforms,
    "pmap over keys": pmap,
    "jax.export with a symbolic batch": exported,
    "jax_debug_key_reuse": key_reuse,
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
