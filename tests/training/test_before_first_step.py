"""What fit refuses before its first step, what it takes in another form, and its last line."""

import json
from pathlib import Path
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from flax.training import train_state
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import jaxdrop.training as jt
from jaxdrop.training import _hyperparams
from tests.training import small_run as small


def with_metric(name: Any, value: Any = 1.0) -> Any:
    def loss_fn(variables: Any, batch: Any, key: jax.Array) -> Any:
        return small.linen_loss(variables, batch, key), {name: value}

    return loss_fn


def begin(folder: Path, loss_fn: Any = small.linen_loss, **options: Any) -> Any:
    """Call fit and return what it returns; if it raises, no folder was made."""
    settings: dict[str, Any] = {
        "state": small.linen_state(), "data": small.DATA, "seed": 0, "epochs": 1, "batch_size": 16,
        "folder": folder, "tick": lambda n: None,
    } | options  # fmt: skip
    try:
        return jt.fit(settings.pop("state"), loss_fn, settings.pop("data"), **settings)
    except (TypeError, ValueError):
        assert not folder.exists()
        raise


@pytest.mark.parametrize(
    "loss_fn, sentence",
    [
        (with_metric("step"), "loss_fn returned a metric named 'step', which is the number of the"),
        (with_metric("epoch"), "loss_fn returned a metric named 'epoch', which is the number of"),
        (with_metric("loss"), "loss_fn returned a metric named 'loss', which is the train"),
        (with_metric("all", np.ones(16)), r"loss_fn returned the metric 'all' of shape \(16,\)"),
        (with_metric("odd", np.complex64(1)), "the metric 'odd' of dtype complex64; fit logs real"),
        (with_metric("odd", jax.random.key(0)), r"the metric 'odd' of dtype key<fry>"),
        (with_metric(1), "loss_fn returned a metric named 1, expected text"),
    ],
)
def test_metrics_that_no_line_can_hold_are_errors_before_the_first_step(
    loss_fn: Any, sentence: str, tmp_path: Path
) -> None:
    with pytest.raises((TypeError, ValueError), match=sentence):
        begin(tmp_path / "run", loss_fn, tick=lambda n: pytest.fail("a step was taken"))


@pytest.mark.parametrize(
    "values, sentence",
    [
        (lambda rows: rows, r"metric_fn returned an array of shape \(16,\), expected a dict"),
        (lambda rows: (rows, rows), "metric_fn returned tuple, expected a dict"),
        (lambda rows: None, "metric_fn returned NoneType, expected a dict"),
        (lambda rows: {"step": rows}, "metric_fn returned a metric named 'step', .*'test_step'"),
        (lambda rows: {"epoch": rows}, "metric_fn returned a metric named 'epoch'"),
        (lambda rows: {"loss": rows}, "named 'loss', which is the training loss .* 'test_loss'"),
        (lambda rows: {"a": rows.mean()}, r"metric_fn returned 'a' of shape \(\), expected one"),
        (lambda rows: {"a": jax.lax.complex(rows, rows)}, "metric 'a' of dtype complex64"),
        (lambda rows: {0: rows}, "metric_fn returned a metric named 0, expected text"),
    ],
)
def test_evaluations_that_no_line_can_hold_are_errors_before_the_first_step(
    values: Any, sentence: str, tmp_path: Path
) -> None:
    with pytest.raises((TypeError, ValueError), match=sentence):
        begin(
            tmp_path / "run", metric_fn=lambda variables, batch: values(batch["x"].sum(1)),
            test=small.TEST, tick=lambda n: pytest.fail("a step was taken"),
        )  # fmt: skip


def test_a_state_of_another_kind_is_an_error_that_says_how_to_make_one(tmp_path: Path) -> None:
    flax_state = train_state.TrainState.create(apply_fn=None, params={}, tx=optax.sgd(0.1))
    with pytest.raises(TypeError, match=r"and fit takes .*flax's has no dropout key"):
        begin(tmp_path / "run", state=flax_state)
    with pytest.raises(TypeError, match=r"NNXNet, and fit takes .*NNXTrainState\.from_model"):
        begin(tmp_path / "run", state=small.NNXNet(nnx.Rngs(0)))


@pytest.mark.parametrize(
    "y, sentence",
    [
        (small.DATA["y"].astype(str), r"got data\['y'\] of dtype <U11, expected numbers or bools"),
        (small.DATA["y"].astype(object), r"got data\['y'\] of dtype object"),
        (small.DATA["y"].tolist(), r"\['y'\]\[2\] \(\) and 67 more; .* numpy\.asarray makes"),
    ],
)
def test_data_that_are_no_arrays_of_numbers_are_errors(
    y: Any, sentence: str, tmp_path: Path
) -> None:
    with pytest.raises((TypeError, ValueError), match=sentence):
        begin(tmp_path / "run", data={"x": small.X, "y": y})


def test_a_look_at_the_metrics_costs_no_second_trace() -> None:
    chex.clear_trace_counter()
    small.run(
        epochs=1, metric_fn=chex.assert_max_traces(small.linen_metric, n=1),
        state=small.linen_state(),
    )  # fmt: skip
    jt.fit(
        small.linen_state(), chex.assert_max_traces(small.linen_loss, n=1), small.DATA,
        seed=0, epochs=1, batch_size=16, tick=lambda n: None,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["linen", "nnx"])
def test_a_state_on_one_device_goes_to_all_of_the_mesh(kind: str) -> None:
    mesh = jax.make_mesh((8,), ("data",), (AxisType.Auto,))
    state, lines = small.run(kind, mesh=mesh, epochs=1)
    made = jt.shard_state(small.KINDS[kind][0](), mesh)
    sharded, expected = small.run(kind, mesh=mesh, epochs=1, state=made)
    assert lines == expected and small.same(state, sharded)
    assert {leaf.sharding for leaf in jax.tree.leaves(state)} == {NamedSharding(mesh, P())}


def test_a_state_on_other_devices_is_an_error() -> None:
    two = jax.make_mesh((2,), ("data",), devices=jax.devices()[:2])
    state = jt.shard_state(small.linen_state(), two)
    with pytest.raises(ValueError, match=r"is on the devices \[0, 1\].*\[0, 1, 2, .*shard_state"):
        small.run(mesh=jax.make_mesh((8,), ("data",)), state=state)


def test_a_loss_that_explicit_axes_break_is_an_error_that_names_the_others() -> None:
    def loss_fn(variables: Any, batch: Any, key: jax.Array) -> jax.Array:
        return jnp.sum(batch["x"].T @ batch["x"]) * variables["params"]["Dense_1"]["bias"][0]

    def notes_on(axis: AxisType) -> str:
        with pytest.raises(Exception, match="returned None|ardin") as error:
            jt.fit(
                small.linen_state(), loss_fn, small.DATA, seed=0, epochs=1, batch_size=16,
                mesh=jax.make_mesh((8,), ("data",), (axis,)), metric_fn=lambda v, b: None,
                test=small.TEST,
            )  # fmt: skip
        return "".join(getattr(error.value, "__notes__", []))  # jax adds its own

    assert "axis_types=(jax.sharding.AxisType.Auto,)" in notes_on(AxisType.Explicit)
    assert "axis_types" not in notes_on(AxisType.Auto)


@pytest.mark.slow
def test_the_last_step_has_a_line(tmp_path: Path) -> None:
    state, lines = begin(tmp_path / "short")
    assert [line["step"] for line in lines] == [small.STEPS]
    every = begin(tmp_path / "every", log_every=1)[1]
    assert lines == every[-1:]
    text = (tmp_path / "short" / "metrics.jsonl").read_text()
    assert [json.loads(line) for line in text.splitlines()] == lines
    _, more = begin(tmp_path / "short", epochs=2)
    assert [line["step"] for line in more] == [small.STEPS, 2 * small.STEPS]
    assert begin(tmp_path / "short", epochs=2)[1] == more  # nothing is left to do
    assert [line["step"] for line in begin(tmp_path / "odd", log_every=3)[1]] == [3, 4]


def with_rate(rate: Any) -> jt.TrainState:
    tx = optax.chain(optax.clip(1.0), optax.inject_hyperparams(optax.sgd)(learning_rate=rate))
    state = small.linen_state()
    return state.replace(tx=tx, opt_state=tx.init(state.params))


def test_another_learning_rate_is_refused_where_optax_keeps_it(tmp_path: Path) -> None:
    state, _ = begin(tmp_path / "run", state=with_rate(0.5))
    again, _ = begin(tmp_path / "run", state=with_rate(0.5))
    assert small.same(state, again)
    with pytest.raises(
        jt.CheckpointError, match=r"hyperparameters\.1/learning_rate: 0\.5 there, 0\.25 here"
    ):
        begin(tmp_path / "run", state=with_rate(0.25))


@pytest.mark.slow
def test_a_rate_that_follows_a_schedule_is_not_compared(tmp_path: Path) -> None:
    schedule = optax.linear_schedule(0.5, 0.0, 10)
    state, _ = begin(tmp_path / "run", state=with_rate(schedule))
    assert state.opt_state[1].hyperparams["learning_rate"] < 0.5
    assert _hyperparams.injected_hyperparams(state.opt_state) == {}
    state, _ = begin(tmp_path / "run", state=state, epochs=2)
    assert int(state.step) == 2 * small.STEPS


def test_numbers_that_json_does_not_have_are_compared_as_text() -> None:
    tx = optax.inject_hyperparams(optax.sgd)(learning_rate=jnp.inf)
    assert _hyperparams.injected_hyperparams(tx.init(jnp.zeros(1))) == {"learning_rate": "inf"}


@pytest.mark.slow
def test_a_rate_s_schedule_goes_on_where_a_run_was_cut(tmp_path: Path) -> None:
    rate = optax.linear_schedule(0.0, 0.5, 2 * small.STEPS)

    def loss_fn(variables: Any, batch: Any, key: jax.Array, step: jax.Array) -> Any:
        return small.linen_loss(variables, batch, key), {"rate": rate(step), "number": step}

    begin(tmp_path / "run", loss_fn, log_every=1)
    _, lines = begin(tmp_path / "run", loss_fn, log_every=1, epochs=2)
    assert [line["number"] for line in lines] == [*range(2 * small.STEPS)]
    np.testing.assert_allclose([line["rate"] for line in lines], np.arange(8) / 16, rtol=1e-6)
