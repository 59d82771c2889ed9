"""Compile for an H200 without one, and read what the compiler made of dropout.

    scripts/prove gpu
    scripts/prove gpu --newest     with the newest jax

Nothing runs: this shows fusions, buffers, collectives and instructions, not times.
"""

import atexit
import functools
import importlib.metadata
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

_DUMP = Path(tempfile.mkdtemp(prefix="prove-gpu-"))
(_DUMP / "mosaic").mkdir()
atexit.register(shutil.rmtree, _DUMP)
# Read by XLA when it first compiles; the tools and libdevice come from this environment alone.
os.environ["XLA_FLAGS"] = f"--xla_dump_to={_DUMP} --xla_dump_hlo_module_re=jit_counted"
os.environ["MOSAIC_GPU_DUMP_TO"] = str(_DUMP / "mosaic")
if not importlib.metadata.version("jax").startswith("0.10."):  # which has no such flag
    os.environ["XLA_FLAGS"] += " --xla_dump_emitter_re=.*"

# ruff: noqa: E402  (the environment comes first)
import jax
import jax.numpy as jnp
from jax.experimental import topologies
from jax.sharding import AxisType, NamedSharding, SingleDeviceSharding
from jax.sharding import PartitionSpec as P

from scripts.benchmarks import removal as bench_removal
from scripts.proofs import attention, hlo, kernels, members, parallel, removal, report, sass, stack

TARGET = Path(__file__).with_name("h200.txtpb")
ROWS, WIDTH = 4096, 2048
INTEGER = 16  # instructions per element of the pass over x; the key's words are a pass of their own


def devices(topology: str) -> Any:
    return topologies.get_topology_desc(
        platform="cuda",
        topology_name="h200",
        target_config=TARGET.read_text(),
        topology=topology,
    ).devices


def compile_on(shardings: Any, f: Callable[..., Any], *shapes: Any) -> Any:
    jitted = jax.jit(f, in_shardings=shardings, out_shardings=shardings)
    return jitted.trace(*shapes).lower(lowering_platforms=("cuda",)).compile()


def compile_split(f: Callable[..., Any], shapes: tuple[Any, ...], out: Any) -> Any:
    """Compile for the mesh that is set, with the arguments split as their shapes say."""
    jitted = jax.jit(f, out_shardings=out)
    return jitted.trace(*shapes).lower(lowering_platforms=("cuda",)).compile()


def stacks(one: Any, checks: report.Checks) -> list[dict[str, Any]]:
    """Eight layers, value_and_grad: mask buffers and temp memory beside those without dropout."""
    rows: list[Any] = []
    for dtype in (jnp.bfloat16, jnp.float32):
        for scanned in (False, True):
            temps, started = {}, {}
            for name, drop in stack.DROPS.items():
                shapes = stack.stack_arguments(ROWS, WIDTH, dtype)
                compiled = compile_on(one, stack.stack(drop, scanned), *shapes)
                text = compiled.as_text()
                temps[name] = compiled.memory_analysis().temp_size_in_bytes
                masks = len(hlo.mask_buffers(text, ROWS * WIDTH))
                row = {
                    "dtype": dtype.dtype.name,
                    "layers": "scanned" if scanned else "unrolled",
                    "dropout": name,
                    "temp MiB": round(temps[name] / 2**20, 2),
                    "over none": f"{temps[name] / temps['none'] - 1:+.2%}",
                    "mask buffers": masks,
                    "fusions": hlo.fusions(text),
                }
                started[name] = row["fusions"]
                rows.append(row)
                if name == "jaxdrop":
                    label = f"stack, {row['layers']}, {row['dtype']}"
                    checks.add(f"{label}: no mask buffer", masks == 0, f"{masks} buffers")
                    checks.add(
                        f"{label}: temp memory within 2% of no dropout",
                        temps[name] <= 1.02 * temps["none"],
                        row["over none"],
                    )
            if not scanned:  # scanned ones are in the table, without a promise
                checks.add(
                    f"{label}: no more fusions than with flax",
                    started["jaxdrop"] <= started["flax"],
                    f"{started['jaxdrop']}, flax {started['flax']}, no dropout {started['none']}",
                )
    return rows


def blocks(one: Any, checks: report.Checks) -> list[dict[str, Any]]:
    """Bias, gelu, dropout, residual: how many passes over memory."""
    rows: list[Any] = []
    for dtype in (jnp.bfloat16, jnp.float32):
        shapes = stack.block_arguments(ROWS, WIDTH, dtype)
        for name in ("none", "jaxdrop", "flax"):
            row = {"dtype": dtype.dtype.name, "dropout": name}
            for way, f, extra in (
                ("forward", stack.block, ()),
                ("backward", stack.block_backward, (shapes[1],)),
                ("forward and backward", stack.block_both, (shapes[1],)),
            ):
                text = compile_on(one, f(stack.DROPS[name]), *shapes, *extra).as_text()
                row[way] = len(hlo.pass_names(text, ROWS * WIDTH))
                row[f"{way}: mask buffers"] = len(hlo.mask_buffers(text, ROWS * WIDTH))
                if name == "jaxdrop":
                    alone = rows[-1][way] if rows else 0
                    checks.add(
                        f"bias + gelu + dropout + residual, {way}, {row['dtype']}: "
                        + ("one fusion" if way != "forward and backward" else "as without dropout"),
                        row[way] == (1 if way != "forward and backward" else alone),
                        f"{row[way]} ({alone} without dropout)",
                    )
            rows.append(row)
    return rows


def count_instructions(one: Any, f: Callable[..., Any], words: Any, x: Any) -> dict[str, float]:
    """Compile ``f(words, x)`` and count the instructions of its pass over x."""

    def counted(words: Any, x: Any) -> Any:  # programs of this name are dumped
        return f(words, x)

    for old in _DUMP.glob("*.ptx"):
        old.unlink()
    text = compile_on(one, counted, words, x).as_text()
    ptx = max(_DUMP.glob("*.ptx"), key=lambda path: path.stat().st_size)
    (kernel,) = hlo.pass_names(text, x.size)
    return sass.per_element(sass.kernels(ptx)[kernel.replace(".", "_")], x.dtype.itemsize)


def instructions(one: Any, checks: report.Checks) -> list[dict[str, Any]]:
    """Machine instructions per element of one call, over those of a copy."""
    rows = []
    for dtype in (jnp.float32, jnp.bfloat16):
        base: dict[str, float] = {}
        for name in ("copy", "jaxdrop", "flax"):
            f = stack.copy if name == "copy" else stack.DROPS[name]
            shape = jax.ShapeDtypeStruct((4096, 4096), dtype)
            found = count_instructions(one, f, stack.abstract_key(), shape)
            base = base or found
            row = {
                "dtype": dtype.dtype.name,
                "dropout": name,
                "integer over a copy": round(found["integer"] - base["integer"], 2),
                "all over a copy": round(found["all"] - base["all"], 2),
                "elements per thread": found["elements per thread"],
                "spills": found["local memory"],
            }
            rows.append(row)
            if name == "jaxdrop":
                checks.add(
                    f"one call, {row['dtype']}: at most {INTEGER} integer instructions over a copy",
                    row["integer over a copy"] <= INTEGER and not row["spills"],
                    f"{row['integer over a copy']} per element, {row['spills']} spills",
                )
    return rows


def tried(one: Any) -> list[dict[str, Any]]:
    """Integer instructions per element of cheaper kernels, over those of a copy.

    And whether their words are stored, 32 bits for one element or two, in gelu, dropout, residual.
    """
    rows: list[dict[str, Any]] = [{"kernel": name} for name in kernels.KERNELS]
    words = jax.ShapeDtypeStruct((4,), jnp.uint32)
    for dtype in (jnp.float32, jnp.bfloat16):
        x = jax.ShapeDtypeStruct((4096, 4096), dtype)
        alone = count_instructions(one, kernels.copy, words, x)["integer"]
        for row in rows:
            found = count_instructions(one, kernels.KERNELS[row["kernel"]], words, x)
            row[x.dtype.name] = round(found["integer"] - alone, 2)
    for row in rows:
        in_block = kernels.block(kernels.KERNELS[row["kernel"]])
        text = compile_on(one, in_block, words, x).as_text()
        row["words in memory"] = len(hlo.mask_buffers(text, x.size // 2))
    return rows


def four_devices(checks: report.Checks) -> list[dict[str, Any]]:
    """Dropout and its gradient over a 2 x 2 mesh: communication."""
    rows = []
    for axis_type in (AxisType.Auto, AxisType.Explicit):
        for spec in (P("data"), P("data", "model"), P(("data", "model")), P(None, "model")):
            mesh = mesh_of_four(axis_type, data=2, model=2)
            for dims in ((), (0,)):
                with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
                    sharding = NamedSharding(mesh, spec)
                    x = jax.ShapeDtypeStruct((1024, 1024), jnp.float32, sharding=sharding)
                    everywhere = NamedSharding(mesh, P())
                    key = stack.abstract_key().update(sharding=everywhere)
                    compiled = compile_split(stack.gradient(dims), (key, x, x), sharding)
                sent = hlo.collectives(compiled.as_text())
                what = f"{axis_type.name} axes, {spec}, broadcast_dims={dims}"
                rows.append({"what": what, "collectives": sent})
    clean = [row for row in rows if not row["collectives"]]
    checks.add(
        "four GPUs: no collective",
        len(clean) == len(rows),
        f"{len(clean)} of {len(rows)} programs have none",
    )
    return rows


def family(one: Any, checks: report.Checks) -> list[dict[str, Any]]:
    """Every member and layer of the family."""
    return members.family(
        members.compiler("cuda", one, mesh_of_four(AxisType.Auto, data=4)), checks
    )


def attentions(one: Any, checks: report.Checks) -> dict[str, list[dict[str, Any]]]:
    """Attention with dropout on one device, and split over four."""
    meshes = [mesh_of_four(kind, devices=4) for kind in (AxisType.Auto, AxisType.Explicit)]
    rows = attention.memory(functools.partial(compile_on, one))
    attention.check_memory(rows, checks)
    sent = attention.over_four(compile_split, meshes)
    attention.check_sent(sent, checks)
    fused = attention.fused(
        functools.partial(compile_on, one), compile_split, meshes[0], _DUMP / "mosaic"
    )
    attention.check_fused(fused, checks)
    return {"memory": rows, "four devices": sent, "fused kernel": fused}


def in_shard_map(checks: report.Checks) -> list[dict[str, Any]]:
    """Sequence and tensor parallelism, and FSDP, over four devices."""
    rows = parallel.over_four(compile_split, mesh_of_four(AxisType.Auto, devices=4))
    parallel.check(rows, checks)
    return rows


def removed(one: Any, checks: report.Checks) -> list[dict[str, Any]]:
    """Steps that leave out what is dropped."""
    rows = removal.steps(functools.partial(compile_on, one), bench_removal.Config())
    removal.check(rows, checks)
    return rows


def mesh_of_four(axis_type: Any, **sizes: int) -> Any:
    four: Any = _Topology(devices("1x4x1"))
    mesh = topologies.make_mesh(four, tuple(sizes.values()), tuple(sizes))
    return mesh.update(axis_types=(axis_type,) * len(sizes))


class _Topology:
    """What ``topologies.make_mesh`` asks of a topology: its devices."""

    def __init__(self, devices: Any):
        self.devices = devices


def main() -> int:
    name = report.name("gpu", __doc__)
    one = SingleDeviceSharding(devices("1x1x1")[0])
    checks = report.Checks()
    data: dict[str, Any] = {
        "command": report.command(name),
        "target": "NVIDIA H200, compiled without one; nothing was run on a device",
        "versions": report.versions(
            *("jax", "jaxlib", "jax-cuda13-plugin", "jax-cuda13-pjrt", "flax"),
            *("nvidia-cuda-nvcc", "nvidia-cuda-nvdisasm"),
        ),
        "stack": stacks(one, checks),
        "block": blocks(one, checks),
        "instructions": instructions(one, checks),
        "tried": tried(one),
        "four devices": four_devices(checks),
        "attention": attentions(one, checks),
        "in shard_map": in_shard_map(checks),
        "removal": removed(one, checks),
        "family": family(one, checks),
        "checks": checks.rows,
    }
    text = [
        "# Compiled for an H200, without one\n",
        f"Made by `{data['command']}`. Nothing was run on a device: this shows buffers, fusions,",
        "communication and instructions, not times.\n",
        ", ".join(f"{k} {v}" for k, v in data["versions"].items()) + "\n",
        checks.markdown(),
    ]
    for title, part in (
        (f"Eight layers of matmul, gelu, dropout at {ROWS} x {WIDTH}, value_and_grad", "stack"),
        ("Bias, gelu, dropout, residual: passes over memory", "block"),
        ("Instructions per element of one call, over a copy", "instructions"),
        ("Dropped units, branches and tokens that are not computed: SGD steps", "removal"),
        ("What was tried: integer instructions per element, over a copy", "tried"),
    ):
        rows = data[part]
        text += [f"## {title}\n", report.table(list(rows[0]), [list(r.values()) for r in rows])]
    text += ["## Attention\n", attention.markdown(data["attention"]["memory"])]
    text += ["## Models inside shard_map\n", parallel.markdown(data["in shard_map"])]
    text += ["## Every member and layer\n", members.markdown(data["family"])]
    report.write(name, data, "\n".join(text))
    return checks.failed()


if __name__ == "__main__":
    raise SystemExit(main())
