"""Two processes, four devices each, draw what one process draws."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import jaxdrop
from tests.processes import ended, free_port

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SHAPE = (16, 24)

WORKER = """
import sys

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import jaxdrop

port, process, out = sys.argv[1], int(sys.argv[2]), sys.argv[3]
jax.distributed.initialize(f"127.0.0.1:{port}", num_processes=2, process_id=process)
assert jax.device_count() == 8 and jax.local_device_count() == 4

SHAPE = (16, 24)
x = np.linspace(1, 2, 16 * 24, dtype=np.float32).reshape(SHAPE)
key = jax.random.key(0)
fast = jax.random.key(0, impl=jaxdrop.fast_prng_impl)
results = {}


def shard(key, x):
    rows = (jax.lax.axis_index("data") * x.shape[0],)
    return jaxdrop.dropout(key, x, 0.3, index_offset=rows)


for axis_type in (AxisType.Auto, AxisType.Explicit):
    mesh = jax.make_mesh((4, 2), ("data", "model"), axis_types=(axis_type,) * 2)
    for name, spec in {"rows": P(("data", "model")), "both": P("data", "model")}.items():
        sharding = NamedSharding(mesh, spec)
        with jax.set_mesh(mesh):
            mine = jax.make_array_from_callback(SHAPE, sharding, lambda index: x[index])
            y = jax.jit(lambda key, x: jaxdrop.dropout(key, x, 0.3))(key, mine)
            results[f"{axis_type.name}-{name}"] = y
            if axis_type is AxisType.Auto:
                draw = jax.jit(lambda key: jax.random.normal(key, SHAPE), out_shardings=sharding)
                results[f"normal-{name}"] = draw(fast)
with jax.set_mesh(mesh):
    mine = jax.make_array_from_callback(SHAPE, NamedSharding(mesh, P("data")), lambda i: x[i])
    step = jax.jit(jax.shard_map(shard, in_specs=(P(), P("data")), out_specs=P("data")))
    results["shard_map"] = step(key, mine)

held = {}
for name, y in results.items():
    whole = np.full(SHAPE, np.nan, np.float32)  # nan: held by the other process
    for piece in y.addressable_shards:
        whole[piece.index] = piece.data
    held[name] = whole
np.savez(out, **held)
"""


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, np.ndarray]]:
    """What each process holds of each result, NaN where the other one holds it."""
    folder = tmp_path_factory.mktemp("processes")
    port = free_port()
    environment = {
        "PYTHONPATH": str(ROOT),
        "JAX_PLATFORMS": "cpu",
        "PYTHONFAULTHANDLER": "1",
        "XLA_FLAGS": os.environ["XLA_FLAGS"] + " --xla_force_host_platform_device_count=4",
        "HOME": str(folder),
    }
    running = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(port), str(i), str(folder / f"{i}.npz")],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for i in range(2)
    ]
    said = ended(running)
    assert [code for code, _ in said] == [0, 0], said
    return [dict(np.load(folder / f"{i}.npz")) for i in range(2)]


NAMES = ["Auto-rows", "Auto-both", "Explicit-rows", "Explicit-both", "shard_map"]


@pytest.mark.parametrize("name", [*NAMES, "normal-rows", "normal-both"])
def test_two_processes_draw_what_one_draws(held: list[dict[str, np.ndarray]], name: str):
    first, second = (pieces[name] for pieces in held)
    if name.startswith("normal"):
        key = jax.random.key(0, impl=jaxdrop.fast_prng_impl)
        whole = jax.jit(lambda key: jax.random.normal(key, SHAPE))(key)
    else:
        x = np.linspace(1, 2, 16 * 24, dtype=np.float32).reshape(SHAPE)
        whole = jaxdrop.dropout(jax.random.key(0), x, 0.3)
    assert np.isnan(first).any() and np.isnan(second).any(), "each process holds a part only"
    assert (np.isnan(first) != np.isnan(second)).all()
    np.testing.assert_array_equal(np.where(np.isnan(first), second, first), whole)
