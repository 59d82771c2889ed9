"""update_kept: absent units keep parameters and moments to the bit, the others are updated."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxdrop
import jaxdrop.training

SIZES, RATE = (3, 8, 12, 2), 0.5
ADAM = optax.adamw(0.1, weight_decay=0.01)
X = jnp.linspace(-1.0, 1.0, 15).reshape(5, 3)


@pytest.fixture(autouse=True)
def promotion() -> Iterator[None]:
    """optax.adam raises a Python float to an integer's power, which strict promotion refuses."""
    with jax.numpy_dtype_promotion("standard"):
        yield


def start() -> Any:
    keys = iter(jax.random.split(jax.random.key(0), 3))
    layers: Any = [
        {"kernel": jax.random.normal(next(keys), (n, m)), "bias": jnp.ones(m)}
        for n, m in zip(SIZES, SIZES[1:], strict=False)
    ]
    layers[1]["kernel"] = layers[1]["kernel"].at[0].set(-0.0)  # a sign that an update may change
    return layers


def units_of(key: Any, layers: Any) -> Any:
    return jaxdrop.unit_dropout_mlp_kept(key, RATE, layers)


def gradient(key: Any, layers: Any) -> Any:
    return jax.grad(lambda w: jnp.sum(jnp.sin(jaxdrop.unit_dropout_mlp(key, X, RATE, w))))(layers)


def step(tx: Any) -> Any:
    @jax.jit
    def run(layers: Any, state: Any, key: Any) -> Any:
        kept = units_of(key, layers)
        updates, state = tx.update(gradient(key, layers), state, layers, kept=kept)
        return optax.apply_updates(layers, updates), state, kept

    return run


def arrays(layers: Any, state: Any) -> dict[str, Any]:
    """Parameters and moments, each a tree like the layers."""
    return {"params": layers, "mu": state[0].mu, "nu": state[0].nu}


def there(array: Any, units: Any) -> Any:
    """Where an array is kept, computed apart from the code that is tested."""
    mask = np.ones(array.shape, bool)
    for axis, at in enumerate(units):
        if at is not None:
            along = np.isin(np.arange(array.shape[axis]), at)
            mask &= np.expand_dims(along, [d for d in range(array.ndim) if d != axis])
    return mask


def changed_outside(tx: Any, steps: int = 3) -> set[str]:
    """Run a few steps; tell which arrays have other bits where they were absent."""
    layers, run = start(), step(tx)
    state, found = tx.init(layers), set()
    for i in range(steps):
        before = arrays(layers, state)
        layers, state, kept = run(layers, state, jax.random.fold_in(jax.random.key(1), i))
        for what, tree in arrays(layers, state).items():
            for old, new, units in zip(before[what], tree, kept, strict=True):
                for name in old:
                    a, b = (np.asarray(t[name]).view(np.uint32) for t in (old, new))
                    mask = there(a, units[name])
                    assert (a[mask] != b[mask]).mean() > 0.5  # a relu may be off in the whole batch
                    if (a[~mask] != b[~mask]).any():
                        found.add(what)
    return found


def test_absent_units_keep_their_bits() -> None:
    assert changed_outside(jaxdrop.training.update_kept(ADAM)) == set()


def test_plain_adam_moves_them_and_is_caught() -> None:
    class Plain:
        init = staticmethod(ADAM.init)

        @staticmethod
        def update(grads: Any, state: Any, params: Any, kept: Any) -> Any:
            return ADAM.update(grads, state, params)

    assert changed_outside(Plain) == {"params", "mu", "nu"}


@pytest.mark.slow
def test_kept_units_are_updated_as_in_the_small_network() -> None:
    """Adam on the gathered arrays alone, with the same units in each step."""
    key, layers = jax.random.key(2), start()
    kept = units_of(key, layers)

    def small(tree: Any) -> Any:
        return [
            {
                name: array[np.ix_(*(range(n) if at is None else np.asarray(at)
                    for n, at in zip(array.shape, units[name], strict=True)))]
                for name, array in layer.items()
            }
            for layer, units in zip(jax.tree.map(np.asarray, tree), kept, strict=True)
        ]  # fmt: skip

    tx = jaxdrop.training.update_kept(ADAM)
    run, state = step(tx), tx.init(layers)
    less, own = small(layers), ADAM.init(small(layers))
    plain = jax.jit(ADAM.update)
    for _ in range(3):
        grads = small(gradient(key, layers))
        layers, state, _ = run(layers, state, key)
        updates, own = plain(grads, own, less)
        less = optax.apply_updates(less, updates)
    for a, b in ((layers, less), (state[0].mu, own[0].mu), (state[0].nu, own[0].nu)):
        jax.tree.map(
            lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-7), small(a), b
        )


def test_the_state_is_that_of_the_inner_one_and_a_prefix_will_do() -> None:
    tx, layers = jaxdrop.training.update_kept(ADAM), start()
    state, grads = tx.init(layers), jax.tree.map(jnp.ones_like, start())
    jax.tree.map(np.testing.assert_array_equal, state, ADAM.init(layers))
    expected = ADAM.update(grads, state, layers)
    for kept in (None, [None] * 3):
        found = tx.update(grads, state, layers, kept=kept)
        jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_wrong_use_is_told_in_a_sentence() -> None:
    tx, params = jaxdrop.training.update_kept(optax.sgd(0.1, momentum=0.9)), {"w": jnp.ones((2, 3))}
    state = tx.init(params)

    def update(**more: Any) -> Any:
        return tx.update(params, state, params, **more)

    with pytest.raises(TypeError, match="^got no kept; update_kept takes for each array"):
        update()
    with pytest.raises(ValueError, match=r"^got 1 entries for an array of shape \(2, 3\); update"):
        update(kept={"w": (None,)})
    with pytest.raises(TypeError, match=r"^got units of dtype float32 and shape \(1,\); update"):
        update(kept={"w": (None, jnp.ones(1))})
    with pytest.raises(TypeError, match="^got kept=3 of type int; update_kept takes"):
        update(kept={"w": 3})
    with pytest.raises(ValueError, match="key"):
        update(kept={"v": None})
    with pytest.raises(TypeError, match="^got inner=0.1 of type float, expected an optax"):
        jaxdrop.training.update_kept(0.1)
    factored: Any = jaxdrop.training.update_kept(
        optax.scale_by_factored_rms(min_dim_size_to_factor=2)
    )
    with pytest.raises(ValueError, match="^got a state with an array of shape .* for a parameter"):
        factored.update(params, factored.init(params), params, kept=None)


def fitted(tx: Any, **options: Any) -> Any:
    state = jaxdrop.training.TrainState.create(
        apply_fn=None, params=start(), tx=tx, dropout_key=jax.random.key(4)
    )

    def loss_fn(variables: Any, batch: Any, key: Any) -> Any:
        return jnp.sin(jaxdrop.unit_dropout_mlp(key, batch, RATE, variables["params"])).mean()

    return jaxdrop.training.fit(
        state, loss_fn, X[:4], seed=0, epochs=2, batch_size=4, tick=lambda n: None, **options
    )[0]


@pytest.mark.slow
def test_fit_tells_the_optimizer_what_a_step_uses() -> None:
    """By hand, and in microbatches, whose units are those of the batch."""

    def kept_fn(params: Any, key: Any) -> Any:
        return units_of(key, params)

    tx = jaxdrop.training.update_kept(ADAM)
    layers, moments = start(), tx.init(start())
    for n in range(2):
        key = jax.random.fold_in(jax.random.key(4), n)
        order = jaxdrop.training.epoch_order(0, n, 4)

        def loss(w: Any, key: Any = key, x: Any = X[order]) -> Any:
            return jnp.sin(jaxdrop.unit_dropout_mlp(key, x, RATE, w)).mean()

        kept = units_of(jax.random.clone(key), layers)
        updates, moments = tx.update(jax.grad(loss)(layers), moments, layers, kept=kept)
        layers = optax.apply_updates(layers, updates)
    for options in ({}, {"accumulate": 2}):
        state = fitted(tx, kept_fn=kept_fn, **options)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
            (state.params, state.opt_state), (layers, moments),
        )  # fmt: skip
    absent = np.ones(SIZES[1], bool)
    absent[np.asarray(kept[0]["bias"][0])] = False
    # Of the last step's update: Adam's weight decay would have moved them.
    np.testing.assert_array_equal(
        np.asarray(fitted(tx, kept_fn=kept_fn).params[0]["bias"])[absent],
        np.asarray(layers[0]["bias"])[absent],
    )


def test_an_optimizer_that_updates_all_is_told() -> None:
    for tx in (ADAM, optax.chain(optax.clip(1.0), ADAM)):
        with pytest.raises(ValueError, match="got kept_fn, and an optimizer that updates all"):
            fitted(tx, kept_fn=lambda params, key: None)
    with pytest.raises(TypeError, match="kept_fn"):
        fitted(ADAM, kept_fn=3)
