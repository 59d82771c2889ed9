"""fit(steps_per_call=n): the bits of single steps; saved, logged and stopped when a call ends."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType

import jaxdrop.training as jt
from jaxdrop.training import _epoch_order
from tests.training import small_run as small
from tests.training.test_fit import kept, stop_at

TOTAL = 3 * small.STEPS


@pytest.mark.slow
@pytest.mark.parametrize("kind, more", [("linen", {"accumulate": 4}), ("linen", {}), ("nnx", {})])
def test_several_steps_have_the_bits_of_single_ones(
    kind: str, more: dict[str, Any], tmp_path: Path
) -> None:
    one, lines = small.run(kind, tmp_path / "one", **more)
    several, same_lines = small.run(kind, tmp_path / "several", steps_per_call=3, **more)
    assert small.same(one, several)
    assert lines == same_lines
    texts = [(tmp_path / name / "metrics.jsonl").read_bytes() for name in ("one", "several")]
    assert texts[0] == texts[1]


@pytest.mark.slow
def test_calls_end_at_evaluations_and_at_the_end() -> None:
    ticks: list[int] = []
    small.run(steps_per_call=3, tick=ticks.append)
    assert ticks == [0, 3, 1, 3, 1, 3, 1]
    ticks.clear()
    state, _ = small.run(steps_per_call=5, tick=ticks.append, metric_fn=None, test=None)
    assert ticks == [0, 5, 5, 2]
    assert small.same(state, small.run(metric_fn=None, test=None)[0])


@pytest.mark.slow
def test_a_checkpoint_that_is_due_is_saved_when_the_call_ends(tmp_path: Path) -> None:
    options: Any = dict(metric_fn=None, test=None, keep=9)
    small.run(folder=tmp_path / "run", steps_per_call=5, save_every=3, **options)
    assert kept(tmp_path / "run") == [5, 10, 12]
    small.run(folder=tmp_path / "other", steps_per_call=2, save_every=4, **options)
    assert kept(tmp_path / "other") == [4, 8, 12]


@pytest.mark.slow
def test_a_run_that_ends_within_a_call_loses_nothing_that_was_saved(tmp_path: Path) -> None:
    options: Any = dict(steps_per_call=3, metric_fn=None, test=None)
    whole, lines = small.run(folder=tmp_path / "whole", **options)

    class Gone(Exception):
        pass

    def gone(n: int) -> None:
        done.append(n)
        if sum(done) >= 6:
            raise Gone  # the third call is under way, or about to be

    done: list[int] = []
    with pytest.raises(Gone):
        small.run(folder=tmp_path / "cut", tick=gone, **options)
    assert jt.saved_step(tmp_path / "cut") == 3
    with pytest.raises(jt.Stopped) as stopped:
        small.run(folder=tmp_path / "cut", tick=stop_at(2), **options)
    assert stopped.value.step % 3 == 0
    cut, cut_lines = small.run(folder=tmp_path / "cut", **(options | {"steps_per_call": 1}))
    assert small.same(whole, cut) and lines == cut_lines


class Rows:
    """The small data as a source."""

    def __len__(self) -> int:
        return 70

    def __getitem__(self, i: int) -> Any:
        return {name: array[i] for name, array in small.DATA.items()}


def squares(variables: Any, batch: Any, key: jax.Array) -> jax.Array:
    logits: Any = small.LinenNet().apply(variables, batch["x"], train=True, rngs={"dropout": key})
    return jnp.mean((logits - batch["x"][:, :3]) ** 2)


MESHES: dict[str, tuple[tuple[int, ...], AxisType]] = {
    "eight devices": ((8,), AxisType.Auto),
    "a second axis": ((4, 2), AxisType.Auto),
    "explicit": ((8,), AxisType.Explicit),
}


@pytest.mark.slow
@pytest.mark.parametrize("data", [small.DATA, Rows()], ids=["arrays", "source"])
@pytest.mark.parametrize("mesh", [None, *MESHES])
def test_a_mesh_and_a_source_give_the_bits_of_single_steps(mesh: str | None, data: Any) -> None:
    """All but the order of float sums is the same, and the compiler keeps that, too."""
    placed = None
    if mesh is not None:
        shape, kind = MESHES[mesh]
        names = ("data", "model")[: len(shape)]
        placed = jax.make_mesh(shape, names, axis_types=(kind,) * len(shape))
    ends = []
    for count in (1, 3):
        settings: Any = dict(seed=0, epochs=3, batch_size=16, log_every=1, tick=lambda n: None)
        start = small.linen_state()
        ends.append(jt.fit(start, squares, data, mesh=placed, steps_per_call=count, **settings))
    (one, lines), (several, same_lines) = ends
    assert small.same(one, several)
    assert lines == same_lines and len(lines) == TOTAL
    assert several.params["Dense_0"]["kernel"].sharding.num_devices == (
        placed.size if placed else 1
    )


@pytest.mark.slow
@pytest.mark.parametrize("bound", [False, True])
def test_a_call_is_compiled_once(bound: bool, caplog: pytest.LogCaptureFixture) -> None:
    """Data that are bound to a device would make the state another kind of input."""
    device = jax.devices()[3]
    state = jax.device_put(small.linen_state(), device if bound else None)
    with jax.log_compiles():
        several, _ = small.run(state=state, steps_per_call=4)
    compiled = [r for r in caplog.records if "Compiling jit(several)" in r.getMessage()]
    assert len(compiled) == 1
    assert several.params["Dense_0"]["kernel"].devices() == {device if bound else jax.devices()[0]}


@pytest.mark.slow
def test_calls_of_several_epochs_have_their_orders() -> None:
    options: Any = dict(metric_fn=None, test=None, epochs=7)
    one, lines = small.run(**options)
    several, same_lines = small.run(steps_per_call=3 * small.STEPS + 1, **options)
    assert small.same(one, several) and lines == same_lines


def test_orders_are_drawn_before_the_steps_that_need_them(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []
    draw = _epoch_order._draw

    def noted(key: jax.Array, epoch: int, rows: int) -> jax.Array:
        drawn.append(epoch)
        return draw(key, epoch, rows)

    monkeypatch.setattr(_epoch_order, "_draw", noted)
    step_rows = _epoch_order.StepRows(0, 70, 16, total=10, ahead=5)
    seen = []
    for number, last in ((0, 1), (2, 2), (4, 2), (6, 2), (8, 2)):
        seen.append(step_rows(number, 2))
        assert drawn == [*range(last + 1)]  # of the next 5 steps too, and none after the end
    whole = [jt.epoch_order(0, epoch, 70)[:64].reshape(4, 16) for epoch in range(3)]
    np.testing.assert_array_equal(np.concatenate(seen), np.concatenate(whole)[:10])


def test_what_is_no_number_of_steps_is_an_error(tmp_path: Path) -> None:
    wrong: list[tuple[dict[str, Any], type[Exception], str]] = [
        ({"steps_per_call": 0}, ValueError, "got steps_per_call=0, expected a whole number of at"),
        ({"steps_per_call": True}, TypeError, "got steps_per_call=True"),
    ]
    for options, kind, sentence in wrong:
        with pytest.raises(kind, match=sentence):
            small.run(folder=tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()
