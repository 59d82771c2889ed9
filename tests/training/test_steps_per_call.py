"""fit(steps_per_call=n): the bits of single steps; saved, logged and stopped when a call ends."""

from pathlib import Path
from typing import Any

import jax
import pytest

import jaxdrop.training as jt
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


def test_what_cannot_be_several_steps_is_an_error(tmp_path: Path) -> None:
    class Rows:
        def __len__(self) -> int:
            return 70

        def __getitem__(self, i: int) -> Any:
            return {name: array[i] for name, array in small.DATA.items()}

    wrong: list[tuple[dict[str, Any], type[Exception], str]] = [
        ({"steps_per_call": 0}, ValueError, "got steps_per_call=0, expected a whole number of at"),
        ({"steps_per_call": True}, TypeError, "got steps_per_call=True"),
        ({"steps_per_call": 2, "data": Rows()}, ValueError, "data that are read by number"),
        ({"steps_per_call": 2, "mesh": jax.make_mesh((8,), ("data",))}, ValueError, "and a mesh"),
    ]
    for options, kind, sentence in wrong:
        with pytest.raises(kind, match=sentence):
            small.run(folder=tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()
