"""sampler: flax's and jaxdrop's dropouts on, all else as at test time, the model untouched."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx

import jaxdrop.linen
import jaxdrop.nnx
from jaxdrop import mc

X = np.random.RandomState(0).standard_normal((6, 8)).astype(np.float32)


def key() -> jax.Array:
    return jax.random.key(11)


class LinenNet(nn.Module):
    """Every place that a mode can come from, and batch norm."""

    batch_norm: bool = True

    @nn.compact
    def __call__(self, x: Any, train: bool = False) -> Any:
        x = nn.Dense(16)(x)
        if self.batch_norm:
            x = nn.BatchNorm(use_running_average=not train)(x)
        x = nn.Dropout(0.3)(x, not train)
        x = nn.MultiHeadDotProductAttention(2, dropout_rate=0.2)(
            x[:, None], deterministic=not train
        )[:, 0]
        x = jaxdrop.linen.Dropout(0.3, deterministic=not train)(x)
        x = jaxdrop.linen.GaussianDropout(0.2, rng_collection="noise")(x, deterministic=not train)
        return nn.Dense(3)(x)


class NNXNet(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        self.first = nnx.Linear(8, 16, rngs=rngs)
        self.norm = nnx.BatchNorm(16, rngs=rngs)
        self.drop = nnx.Dropout(0.3, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(
            2, 16, dropout_rate=0.2, broadcast_dropout=False, decode=False, rngs=rngs
        )
        self.ours = jaxdrop.nnx.SpatialDropout(0.2, channel_axis=-1, rngs=rngs)
        self.last = nnx.Linear(16, 3, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        x = self.drop(self.norm(self.first(x)))
        x = self.attention(x[:, None])
        return self.last(self.ours(x)[:, 0])


@pytest.fixture(scope="module")
def variables() -> Any:
    return LinenNet().init(jax.random.key(0), X)


@pytest.mark.slow
def test_linen_samples_are_those_of_training_mode() -> None:
    net = LinenNet(batch_norm=False)
    variables = net.init(jax.random.key(0), X)
    samples = mc.mc_predict(mc.sampler(net, variables), key(), X, 4)
    for t, sample in enumerate(samples):
        k = jax.random.fold_in(key(), np.uint32(t))
        rngs = {"dropout": k, "params": jax.random.fold_in(k, 0)}
        expected: Any = net.apply(variables, X, train=True, rngs=rngs)
        np.testing.assert_allclose(sample, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_linen_batch_norm_stays_frozen(variables: Any) -> None:
    f = mc.sampler(LinenNet(), variables, train=False)
    # Were the batch's own statistics used, a row would move with its neighbours.
    whole, alone = (
        mc.mc_predict(f, key(), x, 3, share_masks=True) for x in (X, np.vstack([X[:1], 50 + X[1:]]))
    )
    np.testing.assert_allclose(whole[:, 0], alone[:, 0], rtol=1e-4, atol=1e-5)
    assert np.ptp(np.asarray(mc.mc_predict(f, key(), X, 3)), axis=0).min() > 0


@pytest.mark.slow
def test_bound_and_unbound_linen_models_are_the_same(variables: Any) -> None:
    a = mc.mc_predict(LinenNet().bind(variables), key(), X, 3)
    b = mc.mc_predict(mc.sampler(LinenNet(), variables), key(), X, 3)
    np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_every_nnx_dropout_is_on_and_batch_norm_frozen() -> None:
    model = NNXNet(nnx.Rngs(0))
    model.train()
    before = jax.tree.map(np.asarray, nnx.as_pure(nnx.state(model, nnx.Not(nnx.RngState))))
    f = mc.sampler(model)
    copies = [
        mc.mc_predict(f, key(), x, 3, share_masks=True) for x in (X, np.vstack([X[:1], 50 + X[1:]]))
    ]
    np.testing.assert_allclose(copies[0][:, 0], copies[1][:, 0], rtol=1e-4, atol=1e-5)
    after = jax.tree.map(np.asarray, nnx.as_pure(nnx.state(model, nnx.Not(nnx.RngState))))
    jax.tree.map(np.testing.assert_array_equal, before, after)
    assert model.drop.deterministic is False and model.norm.use_running_average is False


@pytest.mark.slow
@pytest.mark.parametrize("only", ["drop", "attention", "ours"])
def test_each_nnx_dropout_counts(only: str) -> None:
    model = NNXNet(nnx.Rngs(0))
    model.eval()
    for name in {"drop", "ours"} - {only}:
        getattr(model, name).rate = 0.0
    if only != "attention":
        model.attention.dropout_rate = 0.0
    sentence = jnp.tile(X[:, None], (1, 5, 1))

    def over_words(key: Any, x: Any) -> Any:
        return mc.sampler(Words(model))(key, x)

    assert np.ptp(np.asarray(mc.mc_predict(over_words, key(), sentence, 4)), axis=0).max() > 0


class Words(nnx.Module):
    def __init__(self, net: NNXNet):
        self.net = net

    def __call__(self, x: Any) -> Any:
        x = self.net.drop(self.net.first(x))
        return self.net.ours(self.net.attention(x))


@pytest.mark.slow
def test_samples_do_not_depend_on_what_the_model_drew_before() -> None:
    model = NNXNet(nnx.Rngs(0))
    a = mc.mc_predict(model, key(), X, 3)
    model.train()
    model(X)
    np.testing.assert_allclose(mc.mc_predict(model, key(), X, 3), a, atol=0.2)  # batch norm moved
    again = NNXNet(nnx.Rngs(0))
    again.drop(jnp.ones(3))
    np.testing.assert_array_equal(mc.mc_predict(again, key(), X, 3), a)


def test_two_streams_of_one_model_differ() -> None:
    rngs = nnx.Rngs(0)
    model = nnx.Sequential(nnx.Dropout(0.5, rngs=rngs), nnx.Dropout(0.5, rngs=rngs))
    kept = np.asarray(mc.mc_predict(model, key(), jnp.ones((1, 4000)), 1)) > 0
    # Equal masks would keep half; independent ones a quarter: 4000 trials, 20 deviations apart.
    assert kept.mean() < 0.35


@pytest.mark.parametrize(
    "given, sentence",
    [
        ((3,), "got int, expected a flax.nnx or flax.linen model"),
        ((nnx.Linear(2, 2, rngs=nnx.Rngs(0)), {}), "got variables with an NNX model"),
        ((nn.Dense(3),), "got Dense without variables; pass those of model.apply"),
    ],
)
def test_wrong_use_is_an_error_in_one_sentence(given: Any, sentence: str) -> None:
    with pytest.raises(TypeError, match=sentence):
        mc.sampler(*given)


class RngsInCall(nnx.Module):
    """Dropouts without a stream of their own."""

    def __init__(self) -> None:
        self.drops = nnx.List([nnx.Dropout(0.5), jaxdrop.nnx.Dropout(0.5)])

    def __call__(self, x: Any, rngs: nnx.Rngs, train: bool = False) -> Any:
        for drop in self.drops:
            x = drop(x, deterministic=not train, rngs=rngs)
        return x


class AnyRngs(RngsInCall):
    def __call__(self, x: Any, **kwargs: Any) -> Any:  # type: ignore[override]  # other arguments
        return super().__call__(x, **kwargs)


@pytest.mark.slow
@pytest.mark.parametrize(
    "f",
    [
        lambda: mc.sampler(RngsInCall()),
        lambda: mc.sampler(RngsInCall(), rngs=nnx.Rngs(0), train=False),
        lambda: mc.sampler(AnyRngs(), rngs=nnx.Rngs(0)),
        lambda: AnyRngs(),
        lambda: RngsInCall(),
        lambda: nnx.Sequential(nnx.Dropout(0.5), jaxdrop.nnx.Dropout(0.5)),
    ],
)
@pytest.mark.parametrize("share_masks", [True, False])
def test_rngs_that_come_with_the_call_are_made_of_the_key(f: Any, share_masks: bool) -> None:
    x = jnp.ones((2, 4000))
    kept = np.asarray(mc.mc_predict(f(), key(), x, 3, share_masks=share_masks)) > 0
    # 24,000 decisions, 8,000 if shared: independent masks keep a quarter, 10 deviations apart.
    assert abs(kept.mean() - 0.25) < 0.05
    assert (kept[0] != kept[1]).any() and (kept[:, 0] == kept[:, 1]).all() == share_masks
    again = np.asarray(mc.mc_predict(f(), key(), x, 3, share_masks=share_masks)) > 0
    np.testing.assert_array_equal(again, kept)


def test_rngs_for_a_linen_model_are_refused(variables: Any) -> None:
    with pytest.raises(TypeError, match="got rngs for a Linen model; they are made of the key"):
        mc.sampler(LinenNet(), variables, rngs={"dropout": key()})


class LinenPair(nn.Module):
    @nn.compact
    def __call__(self, a: Any, b: Any, train: bool = False) -> Any:
        return nn.Dropout(0.5)(a + 2 * b, deterministic=not train)


class NNXPair(nnx.Module):
    def __init__(self) -> None:
        self.drop = nnx.Dropout(0.5, rngs=nnx.Rngs(0))

    def __call__(self, a: Any, b: Any, train: bool = False) -> Any:
        return self.drop(a + 2 * b, deterministic=not train)


@pytest.mark.slow
@pytest.mark.parametrize("share_masks", [True, False])
@pytest.mark.parametrize("names", [(), ("a", "b"), ("b", "a")])
@pytest.mark.parametrize("library", ["linen", "nnx"])
def test_several_inputs(library: str, names: tuple[str, ...], share_masks: bool) -> None:
    f: Any = NNXPair() if library == "nnx" else mc.sampler(LinenPair(), {}, train=False)
    given = {"a": jnp.ones((3, 50)), "b": jnp.zeros((3, 50))}
    x = {name: given[name] for name in names} if names else tuple(given.values())
    samples = np.asarray(mc.mc_predict(f, key(), x, 4, share_masks=share_masks))
    assert set(samples.ravel().tolist()) == {0.0, 2.0}


def test_a_tree_is_one_input_where_the_call_takes_one() -> None:
    class Batch(nn.Module):
        kind: str

        @nn.compact
        def __call__(self, batch: Any, train: bool = False) -> Any:
            a, b = batch.values() if self.kind == "dict" else batch
            return nn.Dropout(0.5)(a + 2 * b, deterministic=not train)

    one, zero = jnp.ones((3, 50)), jnp.zeros((3, 50))
    for x in ((one, zero), [one, zero], {"image": one, "label": zero}):
        f = mc.sampler(Batch(type(x).__name__), {}, train=False)
        assert set(np.asarray(mc.mc_predict(f, key(), x, 4)).ravel().tolist()) == {0.0, 2.0}


def test_a_linen_module_in_an_nnx_model_is_on_too() -> None:
    layer = nnx.bridge.ToNNX(nn.Dropout(0.5, deterministic=True), rngs=nnx.Rngs(0))
    layer.lazy_init(X)
    assert np.ptp(np.asarray(mc.mc_predict(layer, key(), X, 4)), axis=0).max() > 0
