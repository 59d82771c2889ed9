"""ensemble: the members in turn, by mc_predict and mc_moments, for Linen, NNX and functions."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx
from jax.sharding import NamedSharding, PartitionSpec

import jaxdrop
from jaxdrop import mc

X = np.random.RandomState(0).standard_normal((6, 4)).astype(np.float32)
CLOSE: dict[str, Any] = dict(rtol=1e-5, atol=1e-6)


def key() -> jax.Array:
    return jax.random.key(5)


class Net(nn.Module):
    @nn.compact
    def __call__(self, a: Any, b: Any, train: bool = False) -> Any:
        return nn.Dense(3)(nn.Dropout(0.5)(a * b, deterministic=not train))


class NNXNet(nnx.Module):
    def __init__(self, seed: int, features: int = 3):
        rngs = nnx.Rngs(seed)
        self.drop = nnx.Dropout(0.5, rngs=rngs)
        self.last = nnx.Linear(4, features, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        return self.last(self.drop(x))


class RngsInCall(NNXNet):
    def __call__(self, x: Any, rngs: nnx.Rngs) -> Any:  # type: ignore[override]  # one more argument
        return self.last(jaxdrop.dropout(rngs.dropout(), x, 0.5))


def test_nnx_members_in_turn_and_their_moments() -> None:
    models = [NNXNet(seed) for seed in range(3)]
    f = mc.ensemble(models)
    assert not models[0].drop.deterministic  # they are as they were,
    models[0](X), mc.ensemble(models)  # and so are their keys
    for model in models:
        model.eval()
    each = np.stack([np.asarray(model(X)) for model in models])
    np.testing.assert_allclose(mc.mc_predict(f, key(), X, 3), each, **CLOSE)
    np.testing.assert_allclose(
        mc.mc_predict(f, key(), X, 6, chunk_size=4), np.concatenate([each, each]), **CLOSE
    )
    mean, variance = mc.mc_moments(f, key(), X, 3, chunk_size=2)
    np.testing.assert_allclose(mean, each.mean(0), **CLOSE)
    np.testing.assert_allclose(variance, each.var(0), **CLOSE)
    with pytest.raises(ValueError, match="got num_samples=4, which the 3 members .* draw 6"):
        mc.mc_predict(f, key(), X, 4)
    drawn = jax.vmap(lambda k: f(k, X))(jax.random.split(key(), 20))
    nearest = np.abs(np.asarray(drawn)[:, None] - each).max((2, 3))
    assert nearest.min(1).max() < 1e-5  # each is of one member,
    assert set(nearest.argmin(1)) == {0, 1, 2}  # all but with a probability of 3 (2/3)**20


def test_linen_variables_in_a_list_or_stacked_and_several_inputs() -> None:
    net, two = Net(), np.full_like(X, 2)
    each = [net.init(jax.random.key(i), X, X) for i in range(2)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)
    expected = np.stack([np.asarray(net.apply(v, X, two)) for v in each])
    for f, x in (
        (mc.ensemble(net, each, train=False), (X, two)),
        (mc.ensemble(net, stacked), {"b": two, "a": X}),
        (mc.ensemble([net.bind(v) for v in each]), (X, two)),
    ):
        np.testing.assert_allclose(mc.mc_predict(f, key(), x, 2), expected, **CLOSE)


@pytest.mark.parametrize("kind", [NNXNet, RngsInCall])
def test_members_that_drop_have_the_key_of_each_sample(kind: Any) -> None:
    samplers = [mc.sampler(kind(seed)) for seed in range(2)]
    found = mc.mc_predict(mc.ensemble(samplers), key(), X, 4)
    keys = [jax.random.fold_in(key(), np.uint32(t)) for t in range(4)]
    expected = [samplers[t % 2](keys[t], X) for t in range(4)]
    np.testing.assert_allclose(found, np.stack(expected), **CLOSE)
    assert not np.allclose(found[0], found[2])  # the same member, another mask


def test_rngs_of_the_call_come_with_each_sample_of_a_model() -> None:
    found = mc.mc_predict(mc.ensemble([RngsInCall(0), RngsInCall(1)]), key(), X, 4)
    assert not np.allclose(found[0], found[2])  # it drops whatever its mode


def test_samples_are_the_same_on_a_mesh() -> None:
    f = mc.ensemble([jax.tree_util.Partial(scaled, jnp.float32(s)) for s in (1, 2, 3, 4)])
    mesh = jax.make_mesh((2,), ("samples",), devices=jax.devices()[:2])
    sharding = NamedSharding(mesh, PartitionSpec("samples"))
    found = mc.mc_predict(f, key(), X, 4, sharding=sharding, chunk_size=1)
    np.testing.assert_allclose(found, np.stack([X, 2 * X, 3 * X, 4 * X]), rtol=1e-6)


def scaled(scale: Any, key: Any, x: Any) -> Any:
    return scale * x


LINEN: Any = Net()
THREE: Any = 3


@pytest.mark.parametrize(
    "work, sentence",
    [
        (lambda: mc.ensemble([]), r"got \[\] with variables=None: no member; expected a sequence"),
        (lambda: mc.ensemble(LINEN, []), "no member"),
        (lambda: mc.ensemble([NNXNet(0), NNXNet(0, 2)]), "member 1 of another function or struct"),
        (lambda: mc.ensemble([jnp.sin, jnp.cos]), "member 1 of another function or structure"),
        (
            lambda: mc.ensemble(LINEN, [{"a": jnp.ones(3)}, {"a": jnp.ones(2)}]),
            r"as float32\[3\] in member 0 and as float32\[2\] in member 1; expected the same",
        ),
        (
            lambda: mc.ensemble(LINEN, {"a": jnp.ones(3), "b": jnp.ones(2)}),
            r"leading axes of \[\(2,\), \(3,\)\]",
        ),
    ],
)
def test_wrong_use_is_an_error_in_one_sentence(work: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        work()


@pytest.mark.parametrize(
    "work, sentence",
    [
        (lambda: mc.ensemble([THREE]), "got a member 3 of type int in models; expected a sequence"),
        (lambda: mc.ensemble(LINEN), "got models=Net.* of type Net, expected a sequence"),
        (lambda: mc.ensemble([NNXNet(0)], {}), "got variables with a sequence of models; give"),
        (lambda: mc.ensemble([jnp.sin], train=False), "got the options train with a function"),
    ],
)
def test_a_wrong_kind_is_an_error_in_one_sentence(work: Any, sentence: str) -> None:
    with pytest.raises(TypeError, match=sentence):
        work()
