"""fit: the documented steps and nothing else, whatever the form of the data; cut and resumed."""

import json
import signal
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import jaxdrop
import jaxdrop.training as jt
from jaxdrop.training import _fit
from tests.training import small_run as small

BOTH = pytest.mark.parametrize("kind", ["linen", "nnx"])


@pytest.mark.slow
@BOTH
def test_fit_takes_the_documented_steps(kind: str) -> None:
    make_state, loss_fn, _ = small.KINDS[kind]
    state, lines = small.run(kind)
    step, expected = jt.make_train_step(loss_fn), make_state()
    for n in range(3 * small.STEPS):
        order = jt.epoch_order(0, n // small.STEPS, 70)
        rows = order[16 * (n % small.STEPS) :][:16]
        expected, metrics = step(expected, jax.tree.map(lambda a, r=rows: a[r], small.DATA))
        assert [x["loss"] for x in lines if x["step"] == n + 1 and "loss" in x] == [metrics["loss"]]
    assert small.same(state, expected)
    assert [line["step"] for line in lines if "epoch" in line] == [4, 8, 12]


@pytest.mark.slow
@BOTH
def test_a_run_that_is_cut_goes_on_to_the_same_bits(kind: str, tmp_path: Path) -> None:
    whole, lines = small.run(kind, tmp_path / "whole")
    small.run(kind, tmp_path / "cut", epochs=1)
    with pytest.raises(jt.Stopped):
        small.run(kind, tmp_path / "cut", tick=stop_at(6))
    with (tmp_path / "cut" / "metrics.jsonl").open("a") as file:  # as if killed while writing
        file.write('{"step": 11, "loss": 1.0}\n{"st')
    cut, cut_lines = small.run(kind, tmp_path / "cut")
    assert small.same(whole, cut)
    assert lines == cut_lines
    texts = [(tmp_path / name / "metrics.jsonl").read_bytes() for name in ("whole", "cut")]
    assert texts[0] == texts[1]
    assert [json.loads(line) for line in texts[0].splitlines()] == lines
    again, _ = small.run(kind, tmp_path / "cut")  # finished: nothing is left to do
    assert small.same(whole, again)
    assert kept(tmp_path / "whole") == [6, 9, 12] and jt.saved_step(tmp_path / "whole") == 12


@pytest.mark.slow
def test_fast_keys_are_saved_and_come_back(tmp_path: Path) -> None:
    key = jax.random.key(1, impl=jaxdrop.fast_prng_impl)
    whole, _ = small.run(state=small.linen_state(key))
    small.run(folder=tmp_path, state=small.linen_state(key), epochs=1)
    cut, _ = small.run(folder=tmp_path, state=small.linen_state(key))
    assert small.same(whole, cut)
    assert jax.random.key_impl(cut.dropout_key) == jax.random.key_impl(key)


@pytest.mark.slow
def test_without_a_folder_nothing_is_written_and_two_calls_make_one_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    whole, lines = small.run()
    half, first = small.run(epochs=1)
    both, rest = small.run(state=half)
    assert small.same(whole, both) and lines == first + rest
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_seed_orders_the_batches_and_the_key_drops() -> None:
    state = small.run()[0]
    assert not small.same(state, small.run(seed=1)[0])
    assert not small.same(state, small.run(state=small.linen_state(jax.random.key(2)))[0])


def test_orders_are_permutations_that_never_change() -> None:
    orders = [jt.epoch_order(seed, epoch, 1000) for seed in range(3) for epoch in range(3)]
    for order in orders:
        np.testing.assert_array_equal(np.sort(order), np.arange(1000))
    assert len({order.tobytes() for order in orders}) == 9
    # Two random permutations of n agree in a Poisson(1) number of places; P(more than 14) < 1e-12.
    agree = [np.sum(a == b) for i, a in enumerate(orders) for b in orders[:i]]
    assert max(agree) <= 14
    assert jt.epoch_order(7, 3, 12).tolist() == GOLDEN


GOLDEN = [1, 7, 8, 3, 4, 11, 2, 5, 9, 0, 6, 10]


@pytest.mark.slow
def test_evaluation_is_the_mean_over_rows_whatever_the_batch() -> None:
    expected = small.run(batch_size=16)[1]
    state = small.linen_state()
    per_row = np.asarray(small.linen_metric(state.bind(), small.TEST)["test_loss"])
    for batch_size in (1, 4, 16, 21, 64):
        rows = _fit.Dataset(small.TEST, "test")
        evaluate = _fit.make_evaluation(small.linen_metric, rows, batch_size, None, state)
        # Sums of 21 floats of one sign in any order: 20 roundings at most, each of relative 2**-24.
        np.testing.assert_allclose(
            evaluate(state)["test_loss"], np.mean(per_row, dtype=np.float64), rtol=24 * 2.0**-24
        )
    assert {"step", "epoch", "test_loss"} == set(expected[small.STEPS])


@pytest.mark.slow
def test_a_grain_source_trains_as_arrays_do(tmp_path: Path) -> None:
    grain = pytest.importorskip("grain")  # an extra: dev
    rows = [{"x": x, "y": y} for x, y in zip(small.DATA["x"], small.DATA["y"], strict=True)]
    source = grain.MapDataset.source(rows)
    assert small.same(small.run(data=source)[0], small.run()[0])
    with pytest.raises(TypeError, match="got data of type .*IterDataset, expected arrays"):
        small.run(data=source.to_iter_dataset())


def test_tensorboard_has_the_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorboardX")  # an extra: dev
    small.run(folder=tmp_path, epochs=1, tensorboard=True)
    (events,) = (tmp_path / "tensorboard").iterdir()
    for tag in (b"loss", b"test_loss"):
        assert tag in events.read_bytes()
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ImportError, match="type: pip install tensorboardX"):
        small.run(folder=tmp_path / "other", tensorboard=True)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    "options, sentence",
    [
        ({"seed": -1}, r"got seed=-1, expected a whole number from 0"),
        ({"epochs": 0}, r"got epochs=0, expected a whole number of at least 1"),
        ({"batch_size": 71}, r"got batch_size=71, and there are 70 rows"),
        ({"keep": 0}, r"got keep=0"),
        ({"test": None}, r"metric_fn and test belong together"),
        ({"tensorboard": True}, r"needs a folder"),
        ({"data": {"x": np.ones((3, 2)), "y": np.ones(4)}}, r"shapes \['x'\] \(3, 2\), \['y'\]"),
        ({"data": {"x": 1.0}}, r"expected one or more arrays with the same leading axis"),
        ({"data": {}}, r"got data of type dict without an array, expected one"),
    ],
)
def test_invalid_settings_are_refused(options: Any, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=sentence):
        small.run(folder=None if "tensorboard" in options else tmp_path / "new", **options)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("options", [{"seed": jax.random.key(0)}, {"epochs": 1.5}, {"keep": True}])
def test_what_is_no_whole_number_is_a_type_error(options: dict[str, Any], tmp_path: Path) -> None:
    (name,) = options
    with pytest.raises(TypeError, match=f"(?s)got {name}=.* of type .*, expected a whole number"):
        small.run(folder=tmp_path / "new", **options)
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_whole_numbers_of_numpy_are_stored_as_such(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"seed": np.uint32(3), "batch_size": np.int64(16), "epochs": 1}
    state, _ = small.run(folder=tmp_path, **settings)
    again, _ = small.run(folder=tmp_path, seed=3, batch_size=16, epochs=1)
    assert small.same(state, again)


def test_metrics_of_another_shape_are_errors() -> None:
    def loss_fn(variables: Any, batch: Any, key: jax.Array) -> Any:
        return small.linen_loss(variables, batch, key), {"all": batch["x"]}

    with pytest.raises(ValueError, match=r"metric 'all' of shape \(16, 6\); fit logs scalars"):
        jt.fit(
            small.linen_state(), loss_fn, small.DATA, seed=0, epochs=1, batch_size=16, log_every=1
        )
    with pytest.raises(
        ValueError, match=r"'m' of shape \(\), expected one number for each of the 16"
    ):
        small.run(metric_fn=lambda v, b: {"m": b["x"].sum()})


def test_a_bar_shows_speed_and_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    with _fit.progress_bar("step", 10, 4) as tick:
        tick()
        tick(1)
    columns = "".join(capsys.readouterr().err.split())
    assert "6/10" in columns or columns == ""  # nothing is drawn where there is no terminal


def stop_at(step: int, number: int = signal.SIGTERM) -> Any:
    """Return a tick that sends a signal when fit has settled so many steps."""
    done = [0]

    def tick(n: int) -> None:
        before, done[0] = done[0], done[0] + n
        if before < step <= done[0]:
            signal.raise_signal(number)

    return tick


def kept(folder: Path) -> list[int]:
    names = [path.name for path in (folder / "checkpoints").iterdir()]
    return sorted(int(name) for name in names if name.isdigit())
