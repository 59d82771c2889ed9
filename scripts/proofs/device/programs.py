"""What the device's compiler makes of dropout: passes over memory; what several devices send."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import jaxdrop
from scripts.proofs import hlo, report, stack
from scripts.proofs.device.piece import Size, found


def passes(size: Size, checks: report.Checks) -> list[dict[str, Any]]:
    """Compile bias, gelu, dropout and residual; count the passes over memory, and the masks."""
    rows, width = (64, 128) if size.small else (4096, 2048)
    table = []
    for dtype in (jnp.float32, jnp.bfloat16):
        shapes = stack.block_arguments(rows, width, dtype)
        for way, make, more in (
            ("forward", stack.block, ()),
            ("backward", stack.block_backward, (shapes[1],)),
        ):
            row: dict[str, Any] = {"dtype": jnp.dtype(dtype).name, "way": way}
            for name in ("none", "jaxdrop"):
                lowered = jax.jit(make(stack.DROPS[name])).lower(*shapes, *more)
                text: Any = lowered.compile().as_text()
                row[f"passes, {name}"] = len(hlo.pass_names(text, rows * width))
                row[f"masks, {name}"] = len(hlo.mask_buffers(text, rows * width))
            one = row["passes, jaxdrop"] <= max(1, row["passes, none"])
            checks.add(
                f"bias + gelu + dropout + residual, {way}, {row['dtype']}: one pass, no mask",
                one and row["masks, jaxdrop"] == 0,
                f"{row['passes, jaxdrop']} ({row['passes, none']} without dropout), "
                f"{row['masks, jaxdrop']} masks",
            )
            table.append(row)
    return table


def sharded(checks: report.Checks) -> list[dict[str, Any]]:
    """Drop an array that is split over all devices: nothing is sent, and the bits are the same."""
    devices = jax.devices()
    if len(devices) == 1:
        return [{"devices": 1, "axes": "Auto, Explicit", "sent": "not run: one device is here"}]
    x, key = np.linspace(1, 2, 128 * len(devices) * 64, dtype=np.float32), jax.random.key(0)
    x = x.reshape(-1, 64)
    whole, table = np.asarray(jaxdrop.dropout(key, x, 0.3)), []
    for axis_type in (AxisType.Auto, AxisType.Explicit):
        mesh = jax.make_mesh((len(devices),), ("data",), axis_types=(axis_type,))
        with jax.set_mesh(mesh):
            mine = jax.device_put(x, NamedSharding(mesh, P("data")))
            step = jax.jit(lambda key, x: jaxdrop.dropout(key, x, 0.3))
            text: Any = step.lower(key, mine).compile().as_text()
            sent = hlo.collectives(text)
            same = bool((np.asarray(step(key, mine)) == whole).all())
        checks.add(
            f"split over all devices, {axis_type.name} axes: the same bits, nothing sent",
            same and not sent,
            f"{'equal' if same else 'different'} on {len(devices)}, {', '.join(sent) or 'nothing'}",
        )
        table.append(
            {
                "devices": len(devices),
                "axes": axis_type.name,
                "sent": ", ".join(sent) or "nothing",
            }
        )
    return table


def run(size: Size) -> dict[str, Any]:
    checks = report.Checks()
    tables = {"Passes over memory": passes(size, checks), "Split over devices": sharded(checks)}
    return found(checks.rows, **tables)
