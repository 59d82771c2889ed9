"""Two processes on one card draw what one draws: each its half of the rows.

python -m scripts.proofs.device.processes PORT NUMBER COUNT FILE    is one of them
"""

import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from scripts.proofs import report
from scripts.proofs.device.piece import Size, found

SHAPE = (1024, 512)


def draw(port: str, number: int, count: int, file: str) -> None:
    """Be process NUMBER of COUNT; store what this one holds, NaN elsewhere."""
    import jax
    from jax.sharding import AxisType, NamedSharding
    from jax.sharding import PartitionSpec as P

    import jaxdrop

    jax.distributed.initialize(f"127.0.0.1:{port}", num_processes=count, process_id=number)
    x, key = np.linspace(1, 2, SHAPE[0] * SHAPE[1], dtype=np.float32), jax.random.key(0)
    x = x.reshape(SHAPE)

    def shard(key: Any, x: Any) -> Any:
        rows = (jax.lax.axis_index("data") * x.shape[0],)
        return jaxdrop.dropout(key, x, 0.3, index_offset=rows)

    results = {}
    for axis_type in (AxisType.Auto, AxisType.Explicit):
        mesh = jax.make_mesh((jax.device_count(),), ("data",), axis_types=(axis_type,))
        sharding = NamedSharding(mesh, P("data"))
        with jax.set_mesh(mesh):
            mine = jax.make_array_from_callback(SHAPE, sharding, lambda index: x[index])
            step = jax.jit(lambda key, x: jaxdrop.dropout(key, x, 0.3))
            results[f"jit, {axis_type.name} axes"] = step(key, mine)
            mapped = jax.shard_map(shard, in_specs=(P(), P("data")), out_specs=P("data"))
            results[f"shard_map, {axis_type.name} axes"] = jax.jit(mapped)(key, mine)
    held = {}
    for name, y in results.items():
        held[name] = np.full(SHAPE, np.nan, np.float32)
        for piece in y.addressable_shards:
            held[name][piece.index] = piece.data
    np.savez(file, **held)  # type: ignore[arg-type]  # names are names of arrays


def start(count: int, folder: Path) -> list[dict[str, np.ndarray]]:
    """Let COUNT processes draw on the first card; return what each holds."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "0").partition(",")[0]
    one_card = {"CUDA_VISIBLE_DEVICES": first, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    files = [folder / f"{number} of {count}.npz" for number in range(count)]
    command = [sys.executable, "-P", "-m", "scripts.proofs.device.processes", port]
    running = [
        subprocess.Popen([*command, str(i), str(count), file], env=os.environ | one_card)
        for i, file in enumerate(files)
    ]
    if any([process.wait() for process in running]):
        raise RuntimeError(f"one of {count} processes failed, see above")
    return [dict(np.load(file)) for file in files]


def run(size: Size) -> dict[str, Any]:
    checks = report.Checks()
    with tempfile.TemporaryDirectory() as folder:
        (alone,), (first, second) = (start(count, Path(folder)) for count in (1, 2))
    for name, whole in alone.items():
        parts = np.isnan(first[name]) != np.isnan(second[name])
        joined = np.where(np.isnan(first[name]), second[name], first[name])
        same = bool(parts.all() and (joined == whole).all())
        checks.add(f"two processes draw what one draws: {name}", same, f"{len(whole)} rows")
    return found(checks.rows)


if __name__ == "__main__":
    draw(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
