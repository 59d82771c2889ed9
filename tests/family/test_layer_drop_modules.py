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
        assert int(layer.layer.runs[...]) == kept
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


def test_wrong_use_is_told_in_a_sentence() -> None:
    model = jaxdrop.linen.LayerDrop(nn.Dense(3), 0.5, deterministic=False)
    with pytest.raises(ValueError, match="^got a layer that turns float32.*output is like its"):
        model.init(jax.random.key(0), X)
    with pytest.raises(ValueError, match="LayerDrop needs a key while training"):
        jaxdrop.nnx.LayerDrop(NNXTwice(), 0.5)(X)
