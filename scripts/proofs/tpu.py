"""Compile for a TPU v5e without one: whether everything compiles, and what lies in memory.

scripts/prove tpu
scripts/prove tpu --newest     with the newest jax
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import topologies
from jax.sharding import AxisType, NamedSharding, SingleDeviceSharding
from jax.sharding import PartitionSpec as P

import jaxdrop
from scripts.proofs import hlo, members, report, stack

ROWS, WIDTH = 2048, 1024


def programs() -> dict[str, tuple[Callable[..., Any], tuple[Any, ...]]]:
    """Everything that draws, once each."""
    key = stack.abstract_key()
    fast = jax.eval_shape(lambda: jax.random.key(0, impl=jaxdrop.fast_prng_impl))
    shape, row = (256, 512), jax.ShapeDtypeStruct((), jnp.int32)
    found: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
        "random_bits": (lambda key: jaxdrop.random_bits(key, shape), (key,)),
        "keep_mask": (lambda key: jaxdrop.keep_mask(key, shape, 0.3), (key,)),
        "past 2**32": (
            lambda key, row: jaxdrop.random_bits(
                key, shape, index_offset=(row, 0), global_shape=(2**24, 512)
            ),
            (key, row),
        ),
        "fast PRNG, normal": (lambda key: jax.random.normal(key, shape), (fast,)),
        "fast PRNG, bernoulli": (lambda key: jax.random.bernoulli(key, 0.3, shape), (fast,)),
    }
    for dtype in (jnp.float32, jnp.bfloat16, jnp.float16, jnp.complex64):
        x = jax.ShapeDtypeStruct(shape, dtype)
        found[f"dropout, {dtype.dtype.name}"] = (stack.DROPS["jaxdrop"], (key, x))
    x = jax.ShapeDtypeStruct(shape, jnp.float32)
    found["dropout and gradient"] = (stack.gradient(()), (key, x, x))
    found["vmap over keys"] = (
        lambda keys, x: jax.vmap(lambda key, row: jaxdrop.dropout(key, row, 0.3))(keys, x),
        (jax.eval_shape(lambda: jax.random.split(jax.random.key(0), 256)), x),
    )
    return found


def main() -> int:
    report_name = report.name("tpu", __doc__)
    topology = topologies.get_topology_desc(platform="tpu", topology_name="v5e:2x2")
    one = SingleDeviceSharding(topology.devices[0])
    checks = report.Checks()

    def compile_one(f: Callable[..., Any], shapes: tuple[Any, ...], sharding: Any = one) -> Any:
        jitted = jax.jit(f, in_shardings=sharding, out_shardings=one)
        return jitted.trace(*shapes).lower(lowering_platforms=("tpu",)).compile()

    for name, (f, shapes) in programs().items():
        compile_one(f, shapes)
        checks.add(f"compiles: {name}", True, "yes")
    rows = []
    for scanned in (False, True):
        temps = {}
        for name, drop in stack.DROPS.items():
            shapes = stack.stack_arguments(ROWS, WIDTH, jnp.bfloat16)
            compiled = compile_one(stack.stack(drop, scanned), shapes)
            masks = len(hlo.mask_buffers(compiled.as_text(), ROWS * WIDTH))
            temps[name] = compiled.memory_analysis().temp_size_in_bytes
            layers = "scanned" if scanned else "unrolled"
            more = temps[name] - temps["none"]
            over = f"{more / temps['none']:+.2%}" if temps["none"] else f"{more} bytes"
            rows.append([layers, name, round(temps[name] / 2**20, 2), over, masks])
            if name == "jaxdrop":
                checks.add(f"stack, {layers}: no mask buffer", masks == 0, f"{masks} buffers")
    mesh = jax.sharding.Mesh(
        np.asarray(topology.devices).reshape(2, 2),
        ("data", "model"),
        axis_types=(AxisType.Auto,) * 2,
    )
    sharding = NamedSharding(mesh, P("data", "model"))
    x = jax.ShapeDtypeStruct((256, 512), jnp.float32)
    step = jax.jit(
        stack.gradient(()),
        in_shardings=(NamedSharding(mesh, P()), sharding, sharding),
        out_shardings=sharding,
    )
    lowered = step.trace(stack.abstract_key(), x, x).lower(lowering_platforms=("tpu",))
    sent = hlo.collectives(lowered.compile().as_text())
    checks.add("four TPUs: no collective", not sent, ", ".join(sent) or "none")
    four = jax.sharding.Mesh(np.asarray(topology.devices), ("data",), axis_types=(AxisType.Auto,))
    versions = report.versions("jax", "jaxlib", "libtpu", "flax")
    head = ["layers", "dropout", "temp MiB", "over none", "mask buffers"]
    data: dict[str, Any] = {
        "command": report.command(report_name),
        "target": "TPU v5e 2x2, compiled without one; nothing was run on a device",
        "versions": versions,
        "stack": [dict(zip(head, row, strict=True)) for row in rows],
        "family": members.family(members.compiler("tpu", one, four), checks, by_bytes=False),
        "checks": checks.rows,
    }
    text = [
        "# Compiled for a TPU v5e, without one\n",
        f"Made by `{data['command']}`. Nothing was run on a device.\n",
        ", ".join(f"{k} {v}" for k, v in versions.items()) + "\n",
        checks.markdown(),
        f"## Eight layers of matmul, gelu, dropout at {ROWS} x {WIDTH}, bfloat16\n",
        report.table(head, rows),
    ]
    text += ["## Every member and layer\n", members.markdown(data["family"])]
    report.write(report_name, data, "\n".join(text))
    return checks.failed()


if __name__ == "__main__":
    raise SystemExit(main())
