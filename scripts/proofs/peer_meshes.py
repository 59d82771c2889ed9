"""Cases of ``scripts/prove peers`` on several devices or processes."""

import functools
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import jaxdrop
from scripts.proofs import hlo
from scripts.proofs.peer_drops import MODULES, RATE, Drop, inputs, key

WORKER = "scripts.proofs.peer_worker"


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
    text = compiled.as_text()
    assert text is not None
    sent = hlo.collectives(text)
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


def uneven_shards(drop: Drop) -> str:
    mesh, x = _mesh(AxisType.Auto), inputs(10, 24)

    def step(key: jax.Array, x: jax.Array) -> jax.Array:
        x = jax.lax.with_sharding_constraint(x, NamedSharding(mesh, P("data")))
        return drop(key, x)

    return "same bits" if np.array_equal(jax.jit(step)(key(), x), drop(key(), x)) else "other bits"


def pmap(drop: Drop) -> str:
    keys, x = jax.random.split(key(), 8), inputs(8, 64)
    loop = jnp.stack([drop(k, row) for k, row in zip(keys, x, strict=True)])
    return "equals the loop" if np.array_equal(jax.pmap(drop)(keys, x), loop) else "differs"


def two_processes(drop: Drop) -> str:
    """Compare what two processes of four devices draw with what this one draws."""
    name = next(name for name, other in MODULES.items() if other is drop)
    first, second = _drawn_by_two()
    both = np.where(np.isnan(first[name]), second[name], first[name])
    return "same bits" if np.array_equal(both, drop(key(), inputs(16, 24))) else "other bits"


@functools.cache
def _drawn_by_two() -> list[dict[str, np.ndarray]]:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        outs = [Path(folder) / f"{i}.npz" for i in range(2)]
        running = [
            subprocess.Popen(
                [sys.executable, "-P", "-m", WORKER, str(port), str(i), str(out)],
                stdout=subprocess.DEVNULL,
            )
            for i, out in enumerate(outs)
        ]
        for process in running:
            process.wait(timeout=300)
        return [dict(np.load(out)) for out in outs]
