"""fit(accumulate=k): the steps of make_train_step, resumed with the same k, on a mesh as well."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType

import jaxdrop.training as jt
from tests.training import small_run as small
from tests.training.test_accumulate import CLOSE

BOTH = pytest.mark.parametrize("kind", ["linen", "nnx"])


def losses(lines: list[dict[str, Any]]) -> list[float]:
    return [line["loss"] for line in lines if "loss" in line]


@pytest.mark.slow
@BOTH
def test_fit_takes_the_steps_of_microbatches(kind: str) -> None:
    make_state, loss_fn, _ = small.KINDS[kind]
    state, lines = small.run(kind, epochs=1, accumulate=4)
    step, expected = jt.make_train_step(loss_fn, accumulate=4), make_state()
    found = []
    for n in range(small.STEPS):
        rows = jt.epoch_order(0, 0, 70)[16 * n :][:16]
        expected, metrics = step(expected, jax.tree.map(lambda a, r=rows: a[r], small.DATA))
        found.append(float(metrics["loss"]))
    assert losses(lines) == found
    assert small.same(state, expected)


@pytest.mark.slow
def test_a_run_is_resumed_with_the_same_number_of_parts(tmp_path: Path) -> None:
    whole, lines = small.run(folder=tmp_path / "whole", epochs=2, accumulate=4)
    small.run(folder=tmp_path / "cut", epochs=1, accumulate=4)
    for other, sentence in ((2, "accumulate: 4 there, 2 here"), (1, "4 there, absent here")):
        with pytest.raises(jt.CheckpointError, match=sentence):
            small.run(folder=tmp_path / "cut", epochs=2, accumulate=other)
    cut, cut_lines = small.run(folder=tmp_path / "cut", epochs=2, accumulate=4)
    assert small.same(whole, cut) and lines == cut_lines


def squares(variables: Any, batch: Any, key: jax.Array) -> jax.Array:
    logits: Any = small.LinenNet().apply(variables, batch["x"], train=True, rngs={"dropout": key})
    return jnp.mean((logits - batch["x"][:, :3]) ** 2)


@pytest.mark.slow
@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit])
def test_a_mesh_changes_roundings_alone(axis_type: AxisType) -> None:
    def curve(mesh: Any) -> list[float]:
        settings: Any = dict(seed=0, epochs=1, batch_size=16, log_every=1, accumulate=2, mesh=mesh)
        return losses(jt.fit(small.linen_state(), squares, small.DATA, **settings)[1])

    mesh = jax.make_mesh((8,), ("data",), axis_types=(axis_type,))
    np.testing.assert_allclose(curve(None), curve(mesh), atol=CLOSE)


def test_a_number_of_parts_that_does_not_fit_is_an_error(tmp_path: Path) -> None:
    for parts, sentence in (
        (3, "got accumulate=3 and batch_size=16, expected a divisor of batch_size"),
        (0, "got accumulate=0, expected a whole number of at least 1"),
    ):
        with pytest.raises(ValueError, match=sentence):
            small.run(folder=tmp_path / "run", accumulate=parts)
    with pytest.raises(TypeError, match="got accumulate=True"):
        small.run(folder=tmp_path / "run", accumulate=True)
    mesh = jax.make_mesh((8,), ("data",))
    with pytest.raises(ValueError, match="and accumulate=4 for 8 .*multiple of 32"):
        small.run(folder=tmp_path / "run", accumulate=4, mesh=mesh)
    assert not (tmp_path / "run").exists()
