"""flax.serialization of train states: keys in every place; what does not fit is an error."""

from collections.abc import Iterator
from typing import Any

import flax.serialization as serialization
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import jaxdrop
import jaxdrop.nnx
import jaxdrop.training as jt
from jaxdrop.training._typed_keys import is_key


@pytest.fixture(autouse=True, scope="module")
def standard_promotion() -> Iterator[None]:
    """optax.adam raises a Python float to an integer's power, which strict promotion refuses."""
    with jax.numpy_dtype_promotion("standard"):
        yield


X = jnp.linspace(-1, 1, 32).reshape(8, 4)


class WithMore(jt.TrainState):
    """A key in a field of its own, and None."""

    other_key: Any = None
    nothing: Any = None


def linen(key: jax.Array, kind: Any = jt.TrainState, **more: Any) -> jt.TrainState:
    return kind.create(
        apply_fn=None,
        params={"w": jnp.arange(3, dtype=jnp.bfloat16), "inner": {"b": jnp.float32(2)}},
        tx=optax.chain(optax.add_noise(0.1, 0.5, jax.random.key(4)), optax.adam(0.1)),
        dropout_key=key,
        collections={"batch_stats": {"mean": jnp.ones(2)}},
        **more,
    )


def an_nnx(key: jax.Array) -> jt.NNXTrainState:
    rngs = nnx.Rngs(0)
    layers = [nnx.Linear(4, 4, rngs=rngs), jaxdrop.nnx.Dropout(0.5, rngs=rngs)]
    return jt.NNXTrainState.from_model(nnx.Sequential(*layers), optax.adam(0.1), key)


def advanced(state: Any) -> Any:
    return jax.tree.map(lambda a: a if is_key(a) else a + jnp.ones((), a.dtype), state)


def numbers(leaf: Any) -> Any:
    return jax.random.key_data(leaf) if is_key(leaf) else leaf


def same(a: Any, b: Any) -> bool:
    paths = [[p for p, _ in jax.tree_util.tree_leaves_with_path(tree)] for tree in (a, b)]
    assert paths[0] == paths[1]
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(x.dtype == y.dtype and np.array_equal(numbers(x), numbers(y)) for x, y in pairs)


KEYS = {
    "typed": lambda seed: jax.random.key(seed),
    "fast": lambda seed: jax.random.key(seed, impl=jaxdrop.fast_prng_impl),
    "rbg": lambda seed: jax.random.key(seed, impl="rbg"),
    "legacy": lambda seed: jax.random.PRNGKey(seed),
}
MAKERS = {
    "linen": linen,
    "subclass": lambda key: linen(key, WithMore, other_key=jax.random.key(9)),
    "nnx": an_nnx,
}


@pytest.mark.slow
@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("maker", MAKERS)
def test_a_state_comes_back(maker: str, key: str) -> None:
    make = MAKERS[maker]
    state, like = advanced(make(KEYS[key](3))), make(KEYS[key](8))
    assert not same(state, like)
    assert same(serialization.from_bytes(like, serialization.to_bytes(state)), state)
    assert same(serialization.from_state_dict(like, serialization.to_state_dict(state)), state)


@pytest.mark.slow
def test_what_came_back_trains_on() -> None:
    def loss(model: Any, batch: Any, key: jax.Array) -> jax.Array:
        return jnp.mean(model(batch) ** 2)

    step = jt.make_train_step(loss)
    state, _ = step(an_nnx(jax.random.key(3)), X)
    restored = serialization.from_bytes(an_nnx(jax.random.key(8)), serialization.to_bytes(state))
    assert same(step(restored, X)[0], step(state, X)[0])


def test_the_dict_is_flax_s_with_words_for_keys() -> None:
    found = serialization.to_state_dict(linen(jax.random.key(3)))
    assert found["params"]["inner"]["b"] == 2
    assert found["opt_state"]["1"]["0"]["mu"]["w"].dtype == jnp.bfloat16
    assert found["dropout_key"]["key_data"].tolist() == [0, 3]
    assert found["dropout_key"]["impl"] == "threefry2x32"


@pytest.mark.parametrize(
    "change, sentence",
    [
        (lambda d: d["params"].pop("w"), r"got \['inner'\] in what was saved as params, expected"),
        (lambda d: d.update(more=1), "'more'.* in what was saved as the state"),
        (lambda d: d["params"].update(w=jnp.ones(4)), r"got params/w of shape \(4,\)"),
        (lambda d: d["params"].update(inner=3), "got a leaf in what was saved as params/inner"),
        (lambda d: d["dropout_key"].update(impl="rbg"), "got dropout_key of rbg .*of threefry2x32"),
        (lambda d: d.update(dropout_key=jnp.ones(2)), "got dropout_key of ArrayImpl"),
    ],
)
def test_what_does_not_fit_is_an_error(change: Any, sentence: str) -> None:
    state = linen(jax.random.key(3))
    saved = serialization.to_state_dict(state)
    change(saved)
    with pytest.raises(ValueError, match=sentence):
        serialization.from_state_dict(state, saved)
