"""What a loss function may return and what a state is: anything else is an error at the trace."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
import pytest
from flax import nnx
from flax.training import train_state

import jaxdrop.training as jt
from tests.training.step_models import (
    BATCH,
    BOTH,
    NNXMLP,
    LinenMLP,
    Loss,
    Make,
    X,
    cross_entropy,
    linen_loss,
    linen_state,
    nnx_loss,
    nnx_state,
    trace,
)


def norm_state(**replaced: Any) -> jt.TrainState:
    variables = LinenMLP(norm=True).init(jax.random.key(0), X, train=False)
    params = variables.pop("params")
    return jt.TrainState.create(
        apply_fn=LinenMLP(norm=True).apply, params=params, tx=optax.sgd(0.1),
        dropout_key=jax.random.key(0), collections=replaced.get("collections", variables),
    )  # fmt: skip


def norm_loss(shape: Loss) -> Loss:
    """Return a loss function that returns shape(loss, changed collections)."""

    def loss_fn(variables: Any, batch: Any, key: jax.Array) -> Any:
        logits, changed = LinenMLP(norm=True).apply(
            variables, batch["x"], train=True, rngs={"dropout": key}, mutable=["batch_stats"]
        )
        return shape(cross_entropy(logits, batch["y"]), changed)

    return loss_fn


FORMS = {
    "has_aux": (lambda loss, changed: (loss, changed), r"dict as the metric 'batch_stats'.*third"),
    "dropped": (lambda loss, changed: (loss, {"a": loss}), r"\['batch_stats'\].*\(loss, metr"),
    "bare": (lambda loss, changed: loss, r"\['batch_stats'\], and the loss function did not"),
    "swapped": (lambda loss, changed: (loss, changed, {"a": loss}), r"dict as the metric 'batch_s"),
    "arrays": (lambda loss, changed: (loss, {}, {"a": loss}), r"\['a'\], which are arrays; the or"),
    "logits": (lambda loss, changed: (loss, loss + 1), r"returned \(array\[\], array\[\]\), exp"),
    "params": (lambda loss, changed: (loss, {}, {**changed, "params": {}}), r"the optimizer chang"),
}


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_collections_in_another_place_are_errors_at_the_trace(form: str) -> None:
    returned, sentence = FORMS[form]
    with pytest.raises((TypeError, ValueError), match=sentence):
        trace(norm_loss(returned), norm_state())


def test_statistics_that_the_state_does_not_have_are_errors_at_the_trace() -> None:
    with pytest.raises(ValueError, match=r"\['batch_stats'\], and the loss function did not"):
        trace(norm_loss(lambda loss, changed: (loss, {})), norm_state(collections={}))
    with pytest.raises(ValueError, match=r"pass collections=\.\.\."):
        trace(norm_loss(lambda loss, changed: (loss, {}, changed)), norm_state(collections={}))
    variables = LinenMLP(norm=True).init(jax.random.key(0), X, train=False)
    with pytest.raises(ValueError, match=r"got 'params' among the collections.*variables\.pop"):
        norm_state(collections=variables)


def test_statistics_that_stay_need_not_be_returned() -> None:
    def frozen(variables: Any, batch: Any, key: jax.Array) -> jax.Array:
        logits: Any = LinenMLP(norm=True).apply(variables, batch["x"], False)
        return cross_entropy(logits, batch["y"])

    trace(frozen, norm_state())
    trace(norm_loss(lambda loss, changed: (loss, {}, {})), norm_state())


@pytest.mark.slow
@pytest.mark.parametrize(
    "returned, sentence",
    [
        (lambda loss: None, "returned NoneType, expected loss, "),
        (lambda loss: {"loss": loss}, "returned dict, expected loss, "),
        (lambda loss: [loss, loss], r"returned \(array\[\], array\[\]\), expected loss, "),
        (lambda loss: ({}, loss), r"returned \(dict, array\[\]\), expected loss, "),
        (lambda loss: (loss, {}, None), r"returned \(array\[\], dict, NoneType\), expected loss"),
        (lambda loss: jnp.stack([loss, loss]), r"a loss of shape \(2,\), expected one number"),
        (lambda loss: jnp.int32(1), "a loss of dtype int32, expected a floating number"),
        (lambda loss: (loss, {"a": {"b": loss}}), "returned dict as the metric 'a', expected an"),
        (lambda loss: (loss, {"a": [loss]}), "returned list as the metric 'a', expected an array"),
        (lambda loss: (loss, {"a": None}), "returned NoneType as the metric 'a'"),
        (lambda loss: (loss, {1: loss}), "a metric named 1, expected text as its name"),
        (lambda loss: (loss, {"loss": loss}), "a metric named 'loss', which is the training l"),
    ],
)
@BOTH
def test_what_a_loss_returned_is_an_error_at_the_trace(
    make_state: Make, loss_fn: Loss, returned: Any, sentence: str
) -> None:
    with pytest.raises((TypeError, ValueError), match=sentence):
        trace(lambda *args: returned(loss_fn(*args)[0]), make_state())


def test_a_variable_of_the_model_may_be_a_metric() -> None:
    def loss_fn(model: NNXMLP, batch: Any, key: jax.Array) -> Any:
        return nnx_loss(model, batch, key)[0], {"bias": model.second.bias}

    assert trace(loss_fn, nnx_state())[1]["bias"].shape == (3,)


@pytest.mark.parametrize("donate", [True, False])
def test_a_state_of_another_kind_is_an_error_that_says_how_to_make_one(donate: bool) -> None:
    flax_state = train_state.TrainState.create(apply_fn=None, params={}, tx=optax.sgd(0.1))
    of_flax = r"no dropout key; make one with .*TrainState\.create\("
    of_model = r"NNXTrainState\.from_model\("
    for state, sentence in [
        (flax_state, r"of type flax\.training\.train_state\.TrainState, .*" + of_flax),
        (nnx.Linear(2, 2, rngs=nnx.Rngs(0)), r"Linear, .*: make one with .*" + of_model),
        ({}, r"builtins\.dict, .*TrainState\.create\(.*" + of_model),
    ]:
        with pytest.raises(TypeError, match=sentence):
            jt.make_train_step(linen_loss, donate=donate)(state, BATCH)
        with pytest.raises(TypeError, match=sentence):
            jt.make_eval_step(lambda variables, batch: 0)(state, BATCH)


def test_what_makes_no_state_is_an_error() -> None:
    model, key = NNXMLP(nnx.Rngs(0)), jax.random.key(0)
    for tx in (0.1, optax.sgd):
        with pytest.raises(TypeError, match="got tx of type .*, expected an optax transformation"):
            jt.NNXTrainState.from_model(model, tx, key)
    with pytest.raises(TypeError, match=r"an NNX model \(NNXMLP\) as params; .*from_model\("):
        jt.TrainState.create(apply_fn=None, params=model, tx=optax.sgd(0.1), dropout_key=key)
    wrong: Any
    for wrong, sentence in (
        (NNXMLP, "got the class NNXMLP as model, expected an NNX module"),
        (LinenMLP(), r"got LinenMLP as model, .* made by jaxdrop\.training\.TrainState\.create"),
    ):
        with pytest.raises(TypeError, match=sentence):
            jt.NNXTrainState.from_model(wrong, optax.sgd(0.1), key)


@pytest.mark.parametrize("key", [0, None, "0", 1.5])
def test_a_key_that_is_none_is_an_error(key: Any) -> None:
    for make in (
        lambda: jt.TrainState.create(
            apply_fn=LinenMLP().apply, params={}, tx=optax.sgd(0.1), dropout_key=key
        ),
        lambda: jt.NNXTrainState.from_model(NNXMLP(nnx.Rngs(0)), optax.sgd(0.1), key),
    ):
        with pytest.raises((TypeError, ValueError), match=r"pass .* a key made by jax.random.key"):
            make()


@pytest.mark.parametrize("returned", [(1.0, 2.0), (1.0, {}, {}, {}), (1.0,)])
def test_a_loss_that_returns_something_else_is_an_error(returned: Any) -> None:
    with pytest.raises(TypeError, match=r"returned \(float.*expected loss, \(loss, metrics\)"):
        jt.make_train_step(lambda v, b, k: returned)(linen_state(), BATCH)


def test_an_nnx_loss_returns_no_collections() -> None:
    with pytest.raises(ValueError, match="carries its own state"):
        jt.make_train_step(lambda m, b, k: (jnp.sum(m(b["x"])), {}, {"a": 1}))(nnx_state(), BATCH)
