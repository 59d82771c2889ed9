"""States that hold one array twice: they can be donated, and what made them stays usable."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import jaxdrop
import jaxdrop.nnx
import jaxdrop.training as jt

X = jnp.linspace(-1, 1, 32).reshape(8, 4)
BATCH = {"x": X, "y": X.sum(1, keepdims=True)}


@pytest.fixture(autouse=True, scope="module")
def standard_promotion() -> Iterator[None]:
    """optax.contrib multiplies dtypes that strict promotion keeps apart."""
    with jax.numpy_dtype_promotion("standard"):
        yield


class Averaging(jt.TrainState):
    """The average starts as the parameters themselves."""

    average: Any = None


class NNXAveraging(jt.NNXTrainState):
    average: Any = None


def fresh() -> dict[str, jax.Array]:
    return {"w": jnp.full((4, 1), 0.5), "b": jnp.zeros(1)}


def linen_loss(variables: Any, batch: Any, key: jax.Array) -> jax.Array:
    x = jaxdrop.dropout(key, batch["x"], 0.5)
    params = variables["params"]
    return jnp.mean((x @ params["w"] + params["b"][None] - batch["y"]) ** 2)


def nnx_loss(model: Any, batch: Any, key: jax.Array) -> jax.Array:
    return jnp.mean((model(batch["x"]) - batch["y"]) ** 2)


def model() -> nnx.Module:
    rngs = nnx.Rngs(0)
    return nnx.Sequential(jaxdrop.nnx.Dropout(0.5, rngs=rngs), nnx.Linear(4, 1, rngs=rngs))


def keep_params() -> optax.GradientTransformation:
    """Plain descent that keeps the newest parameters as its state: equal outputs of one step."""

    def update(grads: Any, state: Any, params: Any) -> tuple[Any, Any]:
        updates = jax.tree.map(lambda g: -0.1 * g, grads)
        return updates, optax.apply_updates(params, updates)

    return optax.GradientTransformation(lambda params: params, update)


OPTIMIZERS = {
    "prodigy": lambda: optax.contrib.prodigy(),
    "dadapt": lambda: optax.contrib.dadapt_adamw(),
    "schedule_free": lambda: optax.contrib.schedule_free_sgd(0.1),
    "cocob": lambda: optax.contrib.cocob(),
    "keeps the newest": keep_params,
}
OPTIMIZER = pytest.mark.parametrize("name", OPTIMIZERS)


def state_of(kind: str, tx: Any) -> tuple[Any, Any]:
    key = jax.random.key(1)
    if kind == "linen":
        state = jt.TrainState.create(apply_fn=None, params=fresh(), tx=tx, dropout_key=key)
        return state, linen_loss
    return jt.NNXTrainState.from_model(model(), tx, key), nnx_loss


def undonated(state: Any, loss: Any, steps: int) -> Any:
    step = jt.make_train_step(loss, donate=False)
    for _ in range(steps):
        state, _ = step(state, BATCH)
    return state


def same(a: Any, b: Any) -> bool:
    leaves = zip(jax.tree.leaves(a.params), jax.tree.leaves(b.params), strict=True)
    return all(np.array_equal(x, y) for x, y in leaves)


@pytest.mark.slow
@OPTIMIZER
@pytest.mark.parametrize("kind", ["linen", "nnx"])
def test_an_optimizer_may_keep_the_parameters(kind: str, name: str) -> None:
    tx = OPTIMIZERS[name]()
    state, loss = state_of(kind, tx)
    step, expected = jt.make_train_step(loss), undonated(state, loss, 3)
    for _ in range(3):
        state, _ = step(state, BATCH)
    assert same(state, expected)


@pytest.mark.slow
@pytest.mark.parametrize("devices", [0, 1, 2])
@pytest.mark.parametrize("kind", ["linen", "nnx"])
def test_fit_takes_prodigy(kind: str, devices: int) -> None:
    state, loss = state_of(kind, optax.contrib.prodigy())
    mesh = jax.make_mesh((devices,), ("data",)) if devices else None
    if mesh is not None:
        state = jt.shard_state(state, mesh)
    settings: dict[str, Any] = dict(seed=0, epochs=3, batch_size=8, mesh=mesh)
    state, _ = jt.fit(state, loss, BATCH, tick=lambda n: None, **settings)
    assert int(state.step) == 3


@pytest.mark.slow
def test_a_sweep_takes_prodigy() -> None:
    def train(key: jax.Array) -> jax.Array:
        tx = optax.contrib.prodigy()
        state = jt.TrainState.create(apply_fn=None, params=fresh(), tx=tx, dropout_key=key)
        for _ in range(2):
            state, metrics = jt.make_train_step(linen_loss)(state, BATCH)
        return metrics["loss"]

    axes = {"key": jax.random.split(jax.random.key(0), 3)}
    assert len(set(jt.sweep(train, axes).tolist())) == 3


def averaging(kind: str, average: Any) -> tuple[Any, Any]:
    if kind == "nnx":
        state: Any = NNXAveraging.from_model(model(), optax.sgd(0.1), jax.random.key(1))
        return state.replace(average=state.params), nnx_loss
    key = jax.random.key(1)
    state = Averaging.create(
        apply_fn=None, params=average, tx=optax.sgd(0.1), dropout_key=key, average=average
    )
    return state, linen_loss


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["linen", "nnx"])
def test_an_extra_field_may_hold_the_parameters(kind: str) -> None:
    given = fresh()
    state, loss = averaging(kind, given)
    expected = undonated(state, loss, 2)
    step = jt.make_train_step(loss)
    for _ in range(2):
        state, _ = step(state, BATCH)
        state = state.replace(average=state.params)  # between steps too
    state, _ = step(state, BATCH)
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(given)), "was passed in"
    assert same(state.replace(params=state.average), expected)


def test_what_is_passed_in_as_an_extra_field_stays_usable() -> None:
    average = fresh()
    state = Averaging.create(
        apply_fn=None, params=fresh(), tx=optax.sgd(0.1), dropout_key=jax.random.key(1),
        average=average,
    )  # fmt: skip
    jt.make_train_step(linen_loss)(state, BATCH)
    assert average["w"].tolist() == [[0.5]] * 4


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 2])
def test_two_names_of_one_buffer_are_found(devices: int) -> None:
    mesh = jax.make_mesh((devices,), ("data",))
    state, loss = averaging("linen", fresh())
    state = jt.shard_state(state, mesh)
    elsewhere = jax.NamedSharding(mesh, jax.P(None))  # the same place in other words
    other = jax.tree.map(lambda a: jax.device_put(a, elsewhere), state.params)
    state, _ = jt.make_train_step(loss)(state.replace(average=other), BATCH)
    assert int(state.step) == 1


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["linen", "nnx"])
def test_a_state_that_was_given_away_is_an_error(kind: str) -> None:
    state, loss = state_of(kind, optax.sgd(0.1))
    step = jt.make_train_step(loss)
    after, _ = step(state, BATCH)
    settings: dict[str, Any] = dict(seed=0, epochs=1, batch_size=8)
    for use in (
        lambda: step(state, BATCH),
        lambda: step(after.replace(params=state.params), BATCH),
        lambda: jt.fit(state, loss, BATCH, **settings),
        *([lambda: state.to_model()] if kind == "nnx" else []),
    ):
        with pytest.raises(ValueError, match="memory a training step took over; use the state"):
            use()
    step(after, BATCH)


def test_the_step_can_still_be_lowered() -> None:
    state, loss = state_of("linen", optax.sgd(0.1))
    step: Any = jt.make_train_step(loss)
    assert step.lower(state, BATCH).compile().cost_analysis()
