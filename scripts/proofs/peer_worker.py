"""One of the two processes of peer_meshes.two_processes: ``PORT PROCESS OUT.npz``."""

import os
import sys
from typing import Any

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=4"

# ruff: noqa: E402  (the environment comes first)
import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from scripts.proofs.peer_drops import MODULES, inputs, key


def main() -> None:
    """Draw with every library on all eight devices; store the pieces of this process."""
    port, process, out = sys.argv[1:]
    jax.distributed.initialize(f"127.0.0.1:{port}", num_processes=2, process_id=int(process))
    mesh = jax.make_mesh((4, 2), ("data", "model"), axis_types=(AxisType.Auto,) * 2)
    x = np.asarray(inputs(16, 24))
    held: dict[str, Any] = {}
    with jax.set_mesh(mesh):
        sharding = NamedSharding(mesh, P("data", "model"))
        mine = jax.make_array_from_callback(x.shape, sharding, lambda index: x[index])
        for name, drop in MODULES.items():
            whole = np.full(x.shape, np.nan, np.float32)  # nan: held by the other process
            for piece in jax.jit(drop)(key(), mine).addressable_shards:
                whole[piece.index] = piece.data
            held[name] = whole
    np.savez(out, **held)


if __name__ == "__main__":
    main()
