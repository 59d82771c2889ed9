"""Four processes of one device: parameters split over both axes of a mesh, restored on another.

The kernels are split over "data", as in FSDP, and over "model", as in tensor parallelism; Adam's
moments follow. Afterwards each process does its part of a sweep. As a program this file is one of
the processes: PORT NUMBER FOLDER.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, Mesh
from jax.sharding import PartitionSpec as P

import jaxdrop
import jaxdrop.training as jt

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
ROWS, BATCH, STEPS, WIDTH = 32, 8, 4, 16
X = np.random.RandomState(0).normal(size=(ROWS, 8)).astype(np.float32)
Y = (X @ np.ones((8, 4), np.float32) * [0.1, 0.2, 0.3, 0.4]).astype(np.float32)
RULES = {"up/kernel$": P("data", "model"), "down/kernel$": P("model", "data")}
# A number is a sum of at most 8 + WIDTH + BATCH products: inputs, hidden units and rows. Each order
# of adding them is off by at most so many roundings, in each of the steps, of terms below 2.
CLOSE = 2 * 2 * STEPS * (8 + WIDTH + BATCH) * float(np.finfo(np.float32).eps)


class Rows:
    """A source that knows which of its rows were read."""

    def __init__(self) -> None:
        self.read: list[int] = []

    def __len__(self) -> int:
        return ROWS

    def __getitem__(self, number: int) -> dict[str, np.ndarray]:
        self.read.append(number)
        return {"x": X[number], "y": Y[number]}


def loss_fn(variables: Any, batch: Any, key: Any) -> Any:
    params = variables["params"]
    h = jnp.tanh(batch["x"] @ params["up"]["kernel"] + params["up"]["bias"][None])
    predicted = jaxdrop.dropout(key, h, 0.5) @ params["down"]["kernel"]
    return jnp.mean((predicted - batch["y"]) ** 2)


def parameters() -> Any:
    draw = np.random.RandomState(1).normal
    return {
        "up": {"kernel": draw(size=(8, WIDTH)) / 3, "bias": np.zeros(WIDTH)},
        "down": {"kernel": draw(size=(WIDTH, 4)) / 4},
    }


def mesh_of(data: int, model: int) -> Mesh:
    devices = jax.devices()[: data * model]
    types = (AxisType.Auto, AxisType.Auto)
    return jax.make_mesh((data, model), ("data", "model"), axis_types=types, devices=devices)


def train(
    folder: Path | None,
    epochs: int,
    mesh: Mesh | None,
    rows: Any = None,
    key: int = 1,
    steps_per_call: int = 1,
) -> tuple[jt.TrainState, list[float]]:
    state = jt.TrainState.create(
        apply_fn=None,  # the loss applies no module
        params=jax.tree.map(np.float32, parameters()),
        tx=optax.adam(0.01),
        dropout_key=jax.random.key(key),
    )
    if mesh is not None:
        state = jt.shard_state(state, mesh, RULES)
    state, lines = jt.fit(
        state, loss_fn, rows or Rows(), seed=0, epochs=epochs, batch_size=BATCH, folder=folder,
        mesh=mesh, log_every=1, tick=lambda n: None, steps_per_call=steps_per_call,
    )  # fmt: skip
    return state, [line["loss"] for line in lines]


def dropped(rate: Any) -> Any:
    return jaxdrop.dropout(jax.random.key(3), jnp.ones(8), rate)


def sweep(folder: Path | None, **options: Any) -> Any:
    axes = {"rate": np.linspace(0, 0.7, 8, dtype=np.float32)}
    return jt.sweep(dropped, axes, chunk=1, folder=folder, **options)


def shares(state: jt.TrainState) -> set[int]:
    """Return in how many parts the kernels and their moments lie."""
    moments: Any = state.opt_state[0]
    trees = (state.params, moments.mu, moments.nu)
    kernels = [tree[name]["kernel"] for tree in trees for name in ("up", "down")]
    return {kernel.size // kernel.addressable_shards[0].data.size for kernel in kernels}


def same_here(a: jt.TrainState, b: jt.TrainState) -> bool:
    """Say whether this process holds the same bits of two states."""
    trees = [jax.tree.leaves((state.params, state.opt_state)) for state in (a, b)]
    return all(
        np.array_equal(x.addressable_data(0), y.addressable_data(0))
        for x, y in zip(*trees, strict=True)
    )


def run_four(folder: Path) -> list[str]:
    """Return what each of four processes said."""
    from tests.processes import ended, free_port  # not there where this file is a program

    port = free_port()
    flags = os.environ["XLA_FLAGS"] + " --xla_force_host_platform_device_count=1"
    running = [
        subprocess.Popen(
            [sys.executable, __file__, str(port), str(number), str(folder)],
            env=os.environ
            | {"PYTHONPATH": str(ROOT), "PYTHONFAULTHANDLER": "1", "XLA_FLAGS": flags},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for number in range(4)
    ]  # fmt: skip
    said = ended(running)
    assert [code for code, _ in said] == [0] * 4, said
    return [text for _, text in said]


def test_four_processes_share_a_state_that_another_mesh_restores_and_a_sweep(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = run_four(tmp_path)
    seen: list[int] = []
    joined = sweep(tmp_path / "sweep", on_chunk=lambda n, way: seen.append(n))
    np.testing.assert_array_equal(joined, sweep(None))
    assert seen == [8]  # each process has done its part

    for text in said:
        # Each read the half of every batch that its device needs, and a row to know the shapes.
        assert json.loads(text.splitlines()[-1]) == {
            "processes": 4, "shares": [4], "step": STEPS, "read": ROWS // 2 + 1, "calls": True
        }  # fmt: skip

    with jax.numpy_dtype_promotion("standard"):  # optax.adam
        whole, expected = train(None, 2, None)
        other = train(None, 2, None, key=2)[1]
        state, losses = train(tmp_path / "fit", 2, mesh_of(4, 1))  # one process
    assert f"Resuming from step {STEPS} of {2 * STEPS}" in capsys.readouterr().err
    assert shares(state) == {4} and len(losses) == 2 * STEPS
    np.testing.assert_allclose(losses, expected, rtol=CLOSE)
    for a, b in zip(jax.tree.leaves(state.params), jax.tree.leaves(whole.params), strict=True):
        np.testing.assert_allclose(a, b, atol=CLOSE)
    assert np.abs(np.divide(other, expected) - 1).max() > 100 * CLOSE  # other masks


if __name__ == "__main__":
    jax.distributed.initialize(f"127.0.0.1:{sys.argv[1]}", 4, int(sys.argv[2]))
    place = Path(sys.argv[3])
    rows = Rows()
    final, _ = train(place / "fit", 1, mesh_of(2, 2), rows)
    in_calls, _ = train(None, 1, mesh_of(2, 2), {"x": X, "y": Y}, steps_per_call=3)
    other, _ = train(None, 1, mesh_of(2, 2), {"x": X, "y": Y}, key=2)
    sweep(place / "sweep", part=(jax.process_index() + 1, jax.process_count()))
    found = {
        "processes": jax.process_count(),
        "shares": sorted(shares(final)),
        "step": int(final.step),
        "read": len(rows.read),
        "calls": same_here(final, in_calls) and not same_here(final, other),
    }
    print(json.dumps(found))
