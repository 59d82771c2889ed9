"""jaxdrop.training: one trace, donated state, and randomness from (key, step) alone."""

import functools
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import jaxdrop
import jaxdrop.linen
import jaxdrop.nnx
import jaxdrop.training as jt
from jaxdrop import surgery
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
@BOTH
def test_steps_and_keys_differ(make_state: Make, loss_fn: Loss) -> None:
    step = jt.make_train_step(loss_fn, donate=False)
    state = make_state(0)
    later = state.replace(step=state.step + 1)
    first, second, other = (step(s, BATCH)[1]["logits"] for s in (state, later, make_state(1)))
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, other)


@pytest.mark.slow
def test_the_step_key_is_the_documented_one() -> None:
    state = linen_state(7).replace(step=jnp.int32(5))
    key = jax.random.fold_in(jax.random.key(7), 5)
    expected, _ = linen_loss(state.bind(), BATCH, key)
    _, metrics = jt.make_train_step(linen_loss)(state, BATCH)
    np.testing.assert_allclose(metrics["loss"], expected, rtol=1e-6)


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


def is_key(leaf: jax.Array) -> bool:
    return jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def arrays(tree: Any) -> list[np.ndarray]:
    return [
        np.asarray(jax.random.key_data(leaf) if is_key(leaf) else leaf)
        for leaf in jax.tree.leaves(tree)
    ]
