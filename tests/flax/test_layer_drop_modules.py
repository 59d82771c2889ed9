"""LayerDrop in Linen and NNX: the function's decision, a layer that is not run, its state."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxdrop
import jaxdrop.linen
import jaxdrop.nnx

X = jnp.ones((2, 4))
KEYS = jax.random.split(jax.random.key(3), 12)


class Twice(nn.Module):
    """Doubles x, and counts how often it ran."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        runs = self.variable("seen", "runs", lambda: jnp.zeros((), jnp.int32))
        runs.value += 1
        return x * self.param("factor", nn.initializers.constant(2.0), ())


class NNXTwice(nnx.Module):
    def __init__(self) -> None:
        self.runs = nnx.BatchStat(jnp.zeros((), jnp.int32))

    def __call__(self, x: jax.Array) -> jax.Array:
        self.runs[...] += 1
        return x * 2


def wanted(key: jax.Array) -> jax.Array:
    return jaxdrop.layer_drop(key, X, 0.5, lambda h: h * 2)


@pytest.mark.slow
def test_modules_decide_as_the_function_does_and_run_only_what_is_kept() -> None:
    model = jaxdrop.linen.LayerDrop(Twice(), 0.5, deterministic=False)
    variables = model.init(jax.random.key(0), X)
    assert variables["params"]["layer"]["factor"] == 2
    layer = jaxdrop.nnx.LayerDrop(NNXTwice(), 0.5)

    @jax.jit
    def apply(variables: Any, key: jax.Array) -> Any:
        return model.apply(variables, X, rng=key, mutable=["seen"])

    step = nnx.jit(lambda layer, key: layer(X, rngs=key))
    kept = 0
    for k in KEYS:
        want = wanted(k)
        kept += int(want[0, 0] == 2)
        y, seen = apply(variables, k)
        variables = variables | seen
        np.testing.assert_array_equal(y, want)
        np.testing.assert_array_equal(step(layer, k), want)
        assert isinstance(layer.layer, NNXTwice) and int(layer.layer.runs[...]) == kept
        assert int(variables["seen"]["layer"]["runs"]) == 1 + kept  # init ran it too
    assert 0 < kept < len(KEYS)


def test_a_skipped_layer_gets_no_gradient_and_a_kept_one_does() -> None:
    model = jaxdrop.linen.LayerDrop(Twice(), 0.5, deterministic=False)
    variables = model.init(jax.random.key(0), X)

    @jax.jit
    @jax.grad
    def gradient(params: Any, key: jax.Array) -> jax.Array:
        y, _ = model.apply({**variables, "params": params}, X, rng=key, mutable=["seen"])
        return y.sum()

    slopes = {float(gradient(variables["params"], k)["layer"]["factor"]) for k in KEYS}
    assert slopes == {0.0, 8.0}


def test_test_time_and_rate_zero_run_the_layer_without_a_key() -> None:
    for rate, mode in ((0.5, True), (0.0, False)):
        model = jaxdrop.linen.LayerDrop(nn.Dense(4), rate, deterministic=mode)
        variables = model.init(jax.random.key(0), X)
        bare = nn.Dense(4).apply({"params": variables["params"]["layer"]}, X)
        np.testing.assert_array_equal(model.apply(variables, X), bare)
        layer = jaxdrop.nnx.LayerDrop(NNXTwice(), rate, deterministic=mode)
        np.testing.assert_array_equal(layer(X), X * 2)
    np.testing.assert_array_equal(jaxdrop.nnx.LayerDrop(NNXTwice(), 1.0)(X, rngs=KEYS[0]), X)


def test_the_stream_advances_and_eval_sets_the_mode() -> None:
    layer = jaxdrop.nnx.LayerDrop(NNXTwice(), 0.5, rngs=nnx.Rngs(0))
    seen = {float(layer(X)[0, 0]) for _ in range(20)}
    assert seen == {1.0, 2.0}
    layer.eval()
    assert {float(layer(X)[0, 0]) for _ in range(5)} == {2.0}


def fresh(n: int) -> jax.Array:
    return jax.random.fold_in(jax.random.key(3), n)


def is_kept(n: int) -> bool:
    return bool((wanted(fresh(n)) != X).all())


class Mixed(nn.Module):
    """Takes an array, a flag that is looked at in Python, and a mode by keyword alone."""

    @nn.compact
    def __call__(self, x: Any, mask: Any, *, twice: bool = False, deterministic: bool) -> Any:
        x = nn.Dropout(0.5)(x * mask, deterministic=deterministic)
        return 2 * x if twice else x


class NNXMixed(nnx.Module):
    def __init__(self) -> None:
        self.drop = nnx.Dropout(0.5)

    def __call__(
        self, x: Any, mask: Any, rngs: Any = None, *, twice: bool = False, deterministic: bool
    ) -> Any:
        x = self.drop(x * mask, deterministic=deterministic, rngs=rngs)
        return 2 * x if twice else x


@pytest.mark.slow
def test_further_arguments_reach_the_layer_whether_the_decision_is_traced_or_not() -> None:
    mask = jnp.array([[1.0], [0.0]])
    want = {True: X * mask * 2, False: X}
    model = jaxdrop.linen.LayerDrop(Mixed(), 0.5)
    layer = jaxdrop.nnx.LayerDrop(NNXMixed(), 0.5)
    for mode in (True, False):
        options = dict(deterministic=mode, layer_deterministic=True, twice=True)
        traced = jax.jit(lambda m, k, o=options: model.apply({}, X, m, rng=k, **o))
        for n in range(6):
            kept = mode or is_kept(n)
            np.testing.assert_array_equal(traced(mask, fresh(n)), want[kept])
            np.testing.assert_array_equal(layer(X, mask, rngs=fresh(n), **options), want[kept])
            y = layer(X, mask=mask, rngs=fresh(n), **options)
            np.testing.assert_array_equal(y, want[kept])


def test_test_time_asks_for_no_key_and_the_layer_has_a_mode_of_its_own() -> None:
    mask = jnp.ones((2, 1))
    model = jaxdrop.linen.LayerDrop(Mixed(), 0.5)
    layer = jaxdrop.nnx.LayerDrop(NNXMixed(), 0.5)
    quiet: dict[str, Any] = dict(deterministic=True, layer_deterministic=True)
    np.testing.assert_array_equal(model.apply({}, X, mask, **quiet), X)
    np.testing.assert_array_equal(layer(X, mask, **quiet), X)
    # LayerDrop in test mode, the layer in training: only the layer draws.
    loud: dict[str, Any] = dict(deterministic=True, layer_deterministic=False)
    y: Any = model.apply({}, X, mask, rngs={"dropout": fresh(0)}, **loud)
    assert set(np.unique(y)) == {0.0, 2.0}
    assert set(np.unique(layer(X, mask, nnx.Rngs(0), **loud))) == {0.0, 2.0}


def test_a_stream_handed_on_advances_only_where_the_layer_is_run() -> None:
    layer = jaxdrop.nnx.LayerDrop(NNXMixed(), 0.5)
    mode = dict(deterministic=False, layer_deterministic=False)
    stream, kept = nnx.Rngs(dropout=0), 0
    for n in range(6):
        layer(X, jnp.ones((2, 1)), stream, rngs=fresh(n), **mode)
        kept += is_kept(n)
    assert int(stream.dropout.count[...]) == kept and 0 < kept < 6


def test_wrong_use_is_told_in_a_sentence() -> None:
    model = jaxdrop.linen.LayerDrop(nn.Dense(3), 0.5, deterministic=False)
    with pytest.raises(ValueError, match="^got a layer that turns float32.*output is like its"):
        model.init(jax.random.key(0), X)
    with pytest.raises(ValueError, match="LayerDrop needs a key while training"):
        jaxdrop.nnx.LayerDrop(NNXTwice(), 0.5)(X)
