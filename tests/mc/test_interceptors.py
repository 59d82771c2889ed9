"""What is active around a sampler is part of what its program is looked up by."""

from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx

import jaxdrop.linen
import jaxdrop.nnx
from jaxdrop import mc, surgery
from jaxdrop.mc._predict import _predict
from jaxdrop.surgery import _interceptors

X = jnp.ones((20, 50))


def key() -> jax.Array:
    return jax.random.key(3)


class Net(nn.Module):
    layer: Any
    lifted: Any = staticmethod(lambda body: body)

    @nn.compact
    def __call__(self, x: Any, train: bool = False) -> Any:
        def body(module: Any, x: Any) -> Any:
            return self.layer(0.5, deterministic=not train)(x)

        return type(self).lifted(body)(self, x)


class Jitted(Net):
    lifted = staticmethod(nn.jit)


class Checkpointed(Net):
    lifted = staticmethod(nn.remat)


def shares(net: nn.Module) -> tuple[float, ...]:
    """The share of zeros in 10,000 decisions of mc_predict and of mc_moments."""
    f = mc.sampler(net, {}, train=False)
    samples, moments = mc.mc_predict(f, key(), X, 10), mc.mc_moments(f, key(), jnp.tile(X, 10), 1)
    return tuple(float((np.asarray(y) == 0).mean()) for y in (samples, moments.mean))


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Net, Jitted, Checkpointed])
@pytest.mark.parametrize("layer", [nn.Dropout, jaxdrop.linen.Dropout])
@pytest.mark.parametrize("first", ["inside", "outside"])
def test_a_context_holds_for_samples_within_it_and_not_after(
    kind: Any, layer: Any, first: str
) -> None:
    net = kind(layer)
    if first == "outside":
        assert shares(net) == pytest.approx((0.5, 0.5), abs=0.05)  # 10 deviations
    for rate in (0.1, 0.8):
        with surgery.replaced(rate=rate):
            assert shares(net) == pytest.approx((rate, rate), abs=0.05)
    assert shares(net) == pytest.approx((0.5, 0.5), abs=0.05)


def test_what_is_inserted_and_what_flax_intercepts_count_too() -> None:
    dense, variables = nn.Dense(50, use_bias=False), {"params": {"kernel": jnp.eye(50)}}

    def double(next_fun: Any, args: Any, kwargs: Any, context: Any) -> Any:
        return 2 * next_fun(*args, **kwargs)

    def samples() -> np.ndarray:
        return np.asarray(mc.mc_predict(mc.sampler(dense, variables), key(), X, 2))

    with pytest.warns(UserWarning, match="every sample is the same"):
        plain = samples()
    with surgery.inserted(lambda p, m: True, 0.8, deterministic=False):
        assert abs(float((samples() == 0).mean()) - 0.8) < 0.05  # 2,000 decisions: 5 deviations
    with pytest.warns(UserWarning), nn.intercept_methods(double):
        np.testing.assert_array_equal(samples(), 2 * plain)
    np.testing.assert_array_equal(samples(), plain)


def test_an_equal_context_compiles_nothing_anew() -> None:
    compiled, jitted = [], cast(Any, _predict)
    for _ in range(3):
        with surgery.replaced(rate=0.3):
            shares(Net(nn.Dropout))
        compiled.append(jitted._cache_size())
    assert compiled[0] == compiled[2]


@pytest.mark.slow
def test_a_traced_rate_and_one_in_an_array() -> None:
    f = mc.sampler(Net(nn.Dropout), {}, train=False)

    @jax.jit
    def mean(rate: Any) -> Any:
        with surgery.replaced(rate=rate):
            return (mc.mc_predict(f, key(), X, 4) == 0).mean()

    for rate in (0.2, 0.7):
        assert abs(float(mean(rate)) - rate) < 0.05  # 4,000 decisions: 6 deviations
        with surgery.replaced(rate=np.full((1, 50), rate)):
            assert abs(float((mc.mc_predict(f, key(), X, 4) == 0).mean()) - rate) < 0.05


def test_if_flax_does_not_tell_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(nn.module, "_global_interceptor_stack")
    assert _interceptors.interceptors() is None
    assert _interceptors.interceptors_cache_key() != _interceptors.interceptors_cache_key()


@pytest.mark.parametrize("forced_first", [True, False])
def test_the_order_of_contexts_does_not_matter(forced_first: bool) -> None:
    contexts = [nn.intercept_methods(surgery.force_dropout), surgery.replaced(rate=1.0)]
    one, two = contexts if forced_first else reversed(contexts)
    with one, two:
        y = Net(nn.Dropout).apply({}, X, rngs={"dropout": key()})
    assert not np.asarray(y).any()


def test_of_nested_contexts_the_inner_one_decides() -> None:
    for layer in (nn.Dropout, jaxdrop.linen.Dropout):
        with surgery.replaced(rate=0.1), surgery.replaced(rate=1.0):
            y = Net(layer).apply({}, X, train=True, rngs={"dropout": key()})
        assert not np.asarray(y).any()


def test_a_listing_within_a_context_sees_flax_s_dropouts() -> None:
    with surgery.replaced(rate=0.1):
        (row,) = surgery.listing(Net(nn.Dropout), X, variables={})
    assert row.rate == 0.1


class Modes(nnx.Module):
    """The mode of every dropout is said in the call."""

    def __init__(self, rngs: nnx.Rngs):
        self.drop = nnx.Dropout(0.3, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(
            2, 50, dropout_rate=0.2, broadcast_dropout=False, decode=False, rngs=rngs
        )
        self.ours = jaxdrop.nnx.Dropout(0.3, rngs=rngs)
        self.member = jaxdrop.nnx.SpatialDropout(0.3, rngs=rngs)
        self.norm = nnx.BatchNorm(50, rngs=rngs)

    def __call__(self, x: Any, only: str, train: bool = False) -> Any:
        x = self.norm(x, use_running_average=not train)
        return getattr(self, only)(x, deterministic=not train)


@pytest.mark.slow
@pytest.mark.parametrize("only", ["drop", "attention", "ours", "member"])
def test_nnx_dropouts_whose_mode_comes_with_the_call_are_on(only: str) -> None:
    model = Modes(nnx.Rngs(0))
    x = jax.random.normal(jax.random.key(1), (3, 5, 50))
    samples = np.asarray(mc.mc_predict(mc.sampler(model, only=only, train=False), key(), x, 4))
    assert np.ptp(samples, axis=0).max() > 0
    assert type(model.drop) is nnx.Dropout  # the model itself is as it was
    before = model(x, only)
    np.testing.assert_array_equal(model(x, only), before)


@pytest.mark.slow
def test_an_nnx_sample_is_one_of_training_mode() -> None:
    model = Modes(nnx.Rngs(0))
    x = jnp.ones((4000, 5, 50))
    for only, rate in (("drop", 0.3), ("ours", 0.3)):
        f = mc.sampler(model, only=only, train=False)
        zeros = (np.asarray(mc.mc_predict(f, key(), x, 1)) == 0).mean()
        assert abs(zeros - rate) < 0.01  # a million decisions
