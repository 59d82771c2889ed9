"""jaxdrop.training: one trace, donated state, and randomness from (key, step) alone."""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from flax.training import train_state

import jaxdrop
import jaxdrop.linen
import jaxdrop.nnx
import jaxdrop.training as jt
from jaxdrop import surgery
from tests.training.conftest import compiled_in


@pytest.fixture(scope="module", autouse=True)
def compile_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with compiled_in(tmp_path_factory.mktemp("compiled")):
        yield


X = jax.random.normal(jax.random.key(100), (16, 6))
Y = jnp.arange(16) % 3
BATCH = {"x": X, "y": Y}


class LinenMLP(nn.Module):
    norm: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        x = jaxdrop.linen.Dropout(0.2, deterministic=not train)(x)
        x = nn.relu(nn.Dense(8)(x))
        if self.norm:
            x = nn.BatchNorm(use_running_average=not train)(x)
        return nn.Dense(3)(jaxdrop.linen.Dropout(0.5, deterministic=not train)(x))


class NNXMLP(nnx.Module):
    def __init__(self, rngs: nnx.Rngs, norm: bool = False, make: Any = jaxdrop.nnx.Dropout):
        self.drop_in = make(0.2, rngs=rngs)
        self.first = nnx.Linear(6, 8, rngs=rngs)
        self.norm = nnx.BatchNorm(8, rngs=rngs) if norm else None
        self.drop = make(0.5, rngs=rngs)
        self.second = nnx.Linear(8, 3, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = nnx.relu(self.first(self.drop_in(x)))
        if self.norm is not None:
            x = self.norm(x)
        return self.second(self.drop(x))


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def linen_loss(variables: Any, batch: Any, key: jax.Array) -> Any:
    logits: Any = LinenMLP().apply(variables, batch["x"], train=True, rngs={"dropout": key})
    return cross_entropy(logits, batch["y"]), {"logits": logits}


def nnx_loss(model: NNXMLP, batch: Any, key: jax.Array) -> Any:
    logits = model(batch["x"])
    return cross_entropy(logits, batch["y"]), {"logits": logits}


def linen_state(seed: int = 0) -> jt.TrainState:
    params = LinenMLP().init(jax.random.key(0), X, train=False)["params"]
    return jt.TrainState.create(
        apply_fn=LinenMLP().apply,
        params=params,
        tx=optax.sgd(0.1, momentum=0.9),
        dropout_key=jax.random.key(seed),
    )


def nnx_state(seed: int = 0, **kwargs: Any) -> jt.NNXTrainState:
    model = NNXMLP(nnx.Rngs(0), **kwargs)
    return jt.NNXTrainState.from_model(model, optax.sgd(0.1, momentum=0.9), jax.random.key(seed))


BOTH = pytest.mark.parametrize(
    "make_state, loss_fn", [(linen_state, linen_loss), (nnx_state, nnx_loss)], ids=["linen", "nnx"]
)
Make = Callable[..., jt.TrainState]
Loss = Callable[..., Any]


@BOTH
def test_training_lowers_the_loss_in_one_trace(make_state: Make, loss_fn: Loss) -> None:
    chex.clear_trace_counter()
    step = jt.make_train_step(chex.assert_max_traces(loss_fn, n=1))
    state, losses = make_state(), []
    for _ in range(60):
        state, metrics = step(state, BATCH)
        losses.append(float(metrics["loss"]))
    assert int(state.step) == 60
    assert np.mean(losses[-20:]) < np.mean(losses[:20])


@BOTH
def test_the_state_is_donated_and_what_made_it_is_not(make_state: Make, loss_fn: Loss) -> None:
    key = jax.random.key(3)
    params = LinenMLP().init(jax.random.key(0), X, train=False)["params"]
    state = make_state()
    if make_state is linen_state:
        state = jt.TrainState.create(
            apply_fn=LinenMLP().apply, params=params, tx=optax.sgd(0.1), dropout_key=key
        )
    after, _ = jt.make_train_step(loss_fn)(state, BATCH)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state.params))
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves((after, params, key)))
    again = make_state()
    jt.make_train_step(loss_fn, donate=False)(again, BATCH)
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(again))


@BOTH
def test_a_run_that_is_cut_draws_what_it_would_have_drawn(make_state: Make, loss_fn: Loss) -> None:
    step = jt.make_train_step(loss_fn)
    whole = make_state()
    for _ in range(6):
        whole, last = step(whole, BATCH)
    cut = make_state()
    for _ in range(3):
        cut, _ = step(cut, BATCH)
    leaves = [jax.random.key_data(a) if is_key(a) else np.asarray(a) for a in jax.tree.leaves(cut)]
    fresh = make_state()  # a new process would build this, and put the saved numbers in
    restored = [
        jax.random.wrap_key_data(jnp.asarray(saved)) if is_key(leaf) else jnp.asarray(saved)
        for saved, leaf in zip(leaves, jax.tree.leaves(fresh), strict=True)
    ]
    cut = jax.tree.unflatten(jax.tree.structure(fresh), restored)
    for _ in range(3):
        cut, resumed = step(cut, BATCH)
    chex.assert_trees_all_equal(last, resumed)
    chex.assert_trees_all_equal(arrays(whole), arrays(cut))


@BOTH
def test_steps_and_keys_differ(make_state: Make, loss_fn: Loss) -> None:
    step = jt.make_train_step(loss_fn, donate=False)
    state = make_state(0)
    later = state.replace(step=state.step + 1)
    first, second, other = (step(s, BATCH)[1]["logits"] for s in (state, later, make_state(1)))
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, other)


def test_the_step_key_is_the_documented_one() -> None:
    state = linen_state(7).replace(step=jnp.int32(5))
    key = jax.random.fold_in(jax.random.key(7), 5)
    expected, _ = linen_loss(state.bind(), BATCH, key)
    _, metrics = jt.make_train_step(linen_loss)(state, BATCH)
    np.testing.assert_allclose(metrics["loss"], expected, rtol=1e-6)


@pytest.mark.parametrize("make", [jaxdrop.nnx.Dropout, nnx.Dropout])
def test_an_nnx_stream_has_no_hidden_counter(make: Any) -> None:
    used = NNXMLP(nnx.Rngs(0), make=make)
    for _ in range(3):
        used(X)  # advances the streams
    tx, key = optax.sgd(0.1), jax.random.key(2)
    step = jt.make_train_step(nnx_loss)
    _, a = step(jt.NNXTrainState.from_model(used, tx, key), BATCH)
    _, b = step(jt.NNXTrainState.from_model(NNXMLP(nnx.Rngs(0), make=make), tx, key), BATCH)
    chex.assert_trees_all_equal(a, b)


def test_the_layers_of_an_nnx_model_have_masks_of_their_own() -> None:
    class Two(nnx.Module):
        def __init__(self, rngs: nnx.Rngs):
            self.a = jaxdrop.nnx.Dropout(0.5, rngs=rngs)
            self.b = jaxdrop.nnx.Dropout(0.5, rngs=rngs)
            self.weight = nnx.Param(jnp.ones(()))

    def loss(model: Two, batch: jax.Array, key: jax.Array) -> Any:
        return model.weight[...] * 1.0, {"a": model.a(batch), "b": model.b(batch)}

    state = jt.NNXTrainState.from_model(Two(nnx.Rngs(0)), optax.sgd(0.1), jax.random.key(0))
    _, metrics = jt.make_train_step(loss)(state, jnp.ones(64))
    assert not np.array_equal(metrics["a"], metrics["b"])


def test_the_eval_step_has_no_randomness_and_one_trace() -> None:
    chex.clear_trace_counter()
    linen = jt.make_eval_step(
        chex.assert_max_traces(lambda v, b: LinenMLP().apply(v, b["x"], train=False), n=1)
    )
    net = jt.make_eval_step(chex.assert_max_traces(lambda model, b: model(b["x"]), n=1))
    for evaluate, make_state in ((linen, linen_state), (net, nnx_state)):
        state = make_state(0)
        other = state.replace(dropout_key=jax.random.key(1), step=state.step + 1)
        chex.assert_trees_all_equal(evaluate(state, BATCH), evaluate(other, BATCH))
        assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(state))


def test_linen_batch_statistics_are_carried() -> None:
    model = LinenMLP(norm=True)
    variables = model.init(jax.random.key(0), X, train=False)
    state = jt.TrainState.create(
        apply_fn=model.apply,
        params=variables["params"],
        tx=optax.sgd(0.1),
        dropout_key=jax.random.key(0),
        collections={"batch_stats": variables["batch_stats"]},
    )

    def loss(variables: Any, batch: Any, key: jax.Array) -> Any:
        logits, changed = model.apply(
            variables, batch["x"], train=True, rngs={"dropout": key}, mutable=["batch_stats"]
        )
        return cross_entropy(logits, batch["y"]), {}, changed

    after, _ = jt.make_train_step(loss, donate=False)(state, BATCH)
    with pytest.raises(AssertionError):
        chex.assert_trees_all_equal(after.collections, state.collections)
    bare = state.replace(collections={})
    with pytest.raises(ValueError, match=r"'batch_stats'.*pass collections="):
        jt.make_train_step(
            lambda v, b, k: (jnp.sum(v["params"]["Dense_0"]["bias"]), {}, {"batch_stats": {}})
        )(bare, BATCH)


def trace(loss_fn: Loss, state: jt.TrainState) -> Any:
    return jax.eval_shape(jt.make_train_step(loss_fn, donate=False), state, BATCH)


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


# The step of a loss function, which a rate's schedule takes.

RATE = optax.linear_schedule(0.0, 0.5, 5)


def linen_scheduled(variables: Any, batch: Any, key: jax.Array, *, step: jax.Array) -> Any:
    x = jaxdrop.dropout(key, batch["x"], RATE(step))
    logits: Any = LinenMLP().apply(variables, x, train=False)
    return cross_entropy(logits, batch["y"]), {"rate": RATE(step), "zeros": jnp.mean(x == 0)}


def nnx_scheduled(model: NNXMLP, batch: Any, key: jax.Array, step: jax.Array) -> Any:
    surgery.set_rates(model, RATE(step))
    loss = cross_entropy(model(batch["x"]), batch["y"])
    return loss, {"rate": RATE(step), "zeros": jnp.mean(model.drop(jnp.ones(1000)) == 0)}


@pytest.mark.parametrize(
    "make_state, loss_fn", [(linen_state, linen_scheduled), (nnx_state, nnx_scheduled)]
)
def test_a_rate_follows_a_schedule_in_one_trace(make_state: Make, loss_fn: Loss) -> None:
    chex.clear_trace_counter()
    step = jt.make_train_step(chex.assert_max_traces(loss_fn, n=1))
    state, found = make_state(), []
    for _ in range(7):
        state, metrics = step(state, BATCH)
        found.append((float(metrics["rate"]), float(metrics["zeros"])))
    rates, zeros = zip(*found, strict=True)
    np.testing.assert_allclose(rates, [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.5], rtol=1e-6)
    assert zeros[0] == 0 and 0 < zeros[1] < zeros[-1]


def test_only_a_parameter_of_that_name_gets_the_step() -> None:
    seen: list[Any] = []

    def plain(variables: Any, batch: Any, key: jax.Array, rate: float = 0.5) -> jax.Array:
        seen.append(rate)
        return linen_loss(variables, batch, key)[0]

    def wrapped(*args: Any, **kwargs: Any) -> jax.Array:
        seen.append(kwargs)
        return linen_loss(*args)[0]

    def bound(*args: Any, step: Any) -> jax.Array:
        seen.append(step)
        return linen_loss(*args)[0]

    state = linen_state().replace(step=jnp.int32(5))
    for loss_fn in (plain, wrapped, functools.partial(bound, step=-1)):
        trace(loss_fn, state)
    assert seen == [0.5, {}, -1]
    trace(bound, state)
    assert seen[-1].dtype == jnp.int32 and seen[-1].shape == ()


def test_nnx_batch_statistics_are_carried_and_the_model_comes_back() -> None:
    state = nnx_state(norm=True)
    before = state.to_model()
    step = jt.make_train_step(nnx_loss)
    for _ in range(3):
        state, _ = step(state, BATCH)
    model = state.to_model()
    assert not np.array_equal(model.norm.mean[...], before.norm.mean[...])
    held = np.asarray(model(X))
    step(state, BATCH)
    np.testing.assert_array_equal(held, model(X))  # to_model's copy survives the donation


def test_a_step_can_be_vmapped_over_keys() -> None:
    step = jt.make_train_step(linen_loss)
    keys = jax.random.split(jax.random.key(0), 3)
    params = LinenMLP().init(jax.random.key(0), X, train=False)["params"]

    def start(key: jax.Array) -> jt.TrainState:
        return jt.TrainState.create(
            apply_fn=LinenMLP().apply, params=params, tx=optax.sgd(0.1), dropout_key=key
        )

    states, metrics = jax.vmap(step, in_axes=(0, None))(jax.vmap(start)(keys), BATCH)
    alone = [step(start(key), BATCH)[1]["loss"] for key in keys]
    np.testing.assert_allclose(metrics["loss"], jnp.stack(alone), rtol=1e-6)


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


def is_key(leaf: jax.Array) -> bool:
    return jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def arrays(tree: Any) -> list[np.ndarray]:
    return [
        np.asarray(jax.random.key_data(leaf) if is_key(leaf) else leaf)
        for leaf in jax.tree.leaves(tree)
    ]
