"""Surgery puts jaxdrop's dropout into flax's attention modules, in place (NNX) or not (Linen)."""

import functools
import pickle
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxdrop
from jaxdrop import mc, surgery
from tests.surgery.attention_modules import (
    HEADS,
    KEY,
    MASK,
    WIDTH,
    B,
    Capture,
    T,
    X,
    check_against_truth,
    linen_attention,
    nnx_attention,
    own_attention,
)


@pytest.mark.slow
@pytest.mark.parametrize("shared", [True, False])
def test_nnx_attention_drops_by_the_mask_of_its_key(shared: bool) -> None:
    layer = nnx_attention(broadcast_dropout=shared)
    surgery.replace(layer)
    capture = layer.attention_fn = Capture(layer.attention_fn)
    layer(X, mask=MASK, deterministic=False)
    check_against_truth(capture, 0.5, shared)


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("kind", [nn.MultiHeadDotProductAttention, nn.MultiHeadAttention])
def test_linen_attention_drops_by_the_mask_of_its_key(kind: Any, shared: bool) -> None:
    layer = kind(HEADS, dropout_rate=0.5, broadcast_dropout=shared)
    variables = layer.init(KEY, X, deterministic=True)
    captured = []

    def watch(next_fun: Any, args: Any, kwargs: Any, context: Any) -> Any:
        module = context.module
        if isinstance(module, kind) and context.method_name == "__call__":
            captured.append(capture := Capture(module.attention_fn))
            object.__setattr__(module, "attention_fn", functools.wraps(module.attention_fn)(
                lambda *a, **k: capture(*a, **k)
            ))  # fmt: skip
        return next_fun(*args, **kwargs)

    with surgery.replaced(rate=0.25), nn.intercept_methods(watch):
        layer.apply(variables, X, mask=MASK, deterministic=False, rngs={"dropout": KEY})
    (capture,) = captured
    check_against_truth(capture, 0.25, shared)


def test_rate_1_gives_zeros_and_a_gradient() -> None:
    layer = nnx_attention()
    surgery.replace(layer)
    surgery.set_rates(layer, 1.0)
    loss = nnx.grad(lambda layer, x: layer(x, deterministic=False).sum(), argnums=1)
    gradient: Any = loss(layer, X)
    assert (layer(X, deterministic=False) == 0).all() and (gradient == 0).all()
    assert jnp.isfinite(layer(X, deterministic=True)).all()
    linen = linen_attention()
    variables = linen.init(KEY, X, deterministic=True)
    with surgery.replaced(rate=1.0):
        y = linen.apply(variables, X, deterministic=False, rngs={"dropout": KEY})
    assert (y == 0).all()


@pytest.mark.slow
def test_test_mode_decoding_and_rate_0_stay_flax_s_to_the_bit() -> None:
    flaxs, ours = nnx_attention(), nnx_attention()
    surgery.replace(ours)
    for layer in (flaxs, ours):
        layer.init_cache((B, T, WIDTH))
    both = zip(outputs(flaxs), outputs(ours), strict=True)
    for expected, found in both:
        np.testing.assert_array_equal(found, expected)
    linen = linen_attention()
    variables = linen.init(KEY, X, deterministic=True)
    expected = linen.apply(variables, X, mask=MASK, deterministic=True)
    with surgery.replaced(rate=1.0):
        found = linen.apply(variables, X, mask=MASK, deterministic=True)
    np.testing.assert_array_equal(found, expected)


def outputs(layer: nnx.MultiHeadAttention) -> list[Any]:
    found = [layer(X, mask=MASK, deterministic=True)]
    for t in range(3):
        found.append(layer(X[:, t : t + 1], deterministic=True, decode=True))
    with_rate = layer.dropout_rate
    layer.dropout_rate = 0.0
    found.append(layer(X, mask=MASK, deterministic=False))
    layer.dropout_rate = with_rate
    return found


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Using 'Module.sow")  # flax wants it inside of nnx.capture
@pytest.mark.parametrize("deterministic", [True, False])
def test_the_weights_before_dropout_are_sown(deterministic: bool) -> None:
    layer = linen_attention()
    variables = layer.init(KEY, X, deterministic=True)

    def sown() -> Any:
        tree = layer.apply(
            variables, X, deterministic=deterministic, sow_weights=True,
            rngs={"dropout": KEY}, mutable=["intermediates"],
        )[1]  # fmt: skip
        return tree["intermediates"]["attention_weights"][0]

    expected = sown()
    with surgery.replaced():
        np.testing.assert_array_equal(sown(), expected)
    ours: Any = nnx_attention()
    surgery.replace(ours)
    ours(X, deterministic=deterministic, sow_weights=True)
    (weights,) = ours.attention_weights.get_value()
    np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-6)
    assert weights.shape == (B, HEADS, T, T)


def test_undo_pickle_and_twice_is_once() -> None:
    layer = nnx_attention()
    undo = surgery.replace(layer)
    function = layer.attention_fn
    again = pickle.loads(pickle.dumps(layer))
    np.testing.assert_array_equal(again(X, deterministic=False), layer(X, deterministic=False))
    second = surgery.replace(layer)
    assert layer.attention_fn is function
    second()
    undo()
    assert layer.attention_fn is nnx.dot_product_attention


class Transformer(nnx.Module):
    def __init__(self) -> None:
        self.drop = nnx.Dropout(0.1, rngs=nnx.Rngs(1))
        self.own = nnx_attention(attention_fn=own_attention)
        self.partial = nnx_attention(
            attention_fn=functools.partial(nnx.dot_product_attention, is_causal=True)
        )
        self.pair = nnx_attention(precision=("high", "default"))
        self.flaxs = nnx_attention()


def test_a_function_of_the_user_s_own_is_left_alone_and_listed() -> None:
    model = Transformer()
    surgery.replace(model)
    assert model.own.attention_fn is own_attention
    rows = {row.path[0]: row for row in surgery.listing(model)}
    kinds = {name: row.kind.split()[0] for name, row in rows.items()}
    assert kinds == {
        "drop": "jaxdrop", "own": "tests", "partial": "flax", "pair": "flax", "flaxs": "jaxdrop",
    }  # fmt: skip
    assert [rows[name].mask_shared for name in ("drop", "own")] == [None, True]
    kinds_of_table = list(surgery.table(model).columns[1].cells)
    assert "jaxdrop MultiHeadAttention weights, one mask" in kinds_of_table
    with pytest.raises(ValueError, match="for the attention at .*'own'.* gives NaN"):
        surgery.set_rates(model, 1.0, lambda path, module: path == ("own",))


def test_linen_attention_with_a_function_or_einsum_of_its_own_gets_the_rate_alone() -> None:
    def own(query: Any, key: Any, value: Any, *, dropout_rate: Any) -> Any:
        seen.append(dropout_rate)
        return value

    seen: list[Any] = []
    layer = nn.MultiHeadDotProductAttention(HEADS, dropout_rate=0.5, attention_fn=own)
    variables = layer.init(KEY, X, deterministic=True)
    with surgery.replaced(rate=0.25):
        layer.apply(variables, X, deterministic=False, rngs={"dropout": KEY})
        (row,) = surgery.listing(layer, X, variables=variables, deterministic=True)
    assert set(seen) == {0.5, 0.25} and row.kind.startswith("tests ")
    einsum = nn.MultiHeadDotProductAttention(
        HEADS, dropout_rate=0.5, qk_attn_weights_einsum_cls=lambda: jnp.einsum,
        attn_weights_value_einsum_cls=lambda: jnp.einsum,
    )  # fmt: skip

    def call() -> Any:
        return einsum.apply(variables, X, deterministic=False, rngs={"dropout": KEY})

    expected = call()
    with surgery.replaced():
        np.testing.assert_array_equal(call(), expected)
    for rate, error in ((1.0, ValueError), (jnp.ones(2) / 2, TypeError)):
        with pytest.raises(error, match="attention"), surgery.replaced(rate=rate):
            call()


def test_key_bits_leave_attention_to_flax() -> None:
    ours, flaxs = nnx_attention(), nnx_attention()
    surgery.replace(ours, bits="key")
    np.testing.assert_array_equal(ours(X, deterministic=False), flaxs(X, deterministic=False))
    layer = linen_attention()
    variables = layer.init(KEY, X, deterministic=True)

    def call() -> Any:
        return layer.apply(variables, X, deterministic=False, rngs={"dropout": KEY})

    expected = call()
    with surgery.replaced(), surgery.replaced(bits="key"):  # the inner one decides
        np.testing.assert_array_equal(call(), expected)


def test_insert_drops_the_input_and_the_weights() -> None:
    model: Any = nnx.Dict(attention=nnx_attention())
    surgery.replace(model)
    undo = surgery.insert(
        model, lambda path, m: isinstance(m, nnx.MultiHeadAttention), 0.5, rngs=nnx.Rngs(2)
    )
    rows = {row.path: row.kind for row in surgery.listing(model)}
    assert rows == {
        ("attention",): "jaxdrop MultiHeadAttention weights",
        ("attention", "dropout_before"): "jaxdrop Dropout",
    }
    model.train()
    capture = model.attention.attention_fn = Capture(model.attention.attention_fn)
    model.attention(X, mask=MASK)
    check_against_truth(capture, 0.5, True)
    undo()
    assert [row.path for row in surgery.listing(model)] == [("attention",)]


@pytest.mark.slow
def test_mc_turns_it_on() -> None:
    layer = nnx_attention(broadcast_dropout=False)
    surgery.replace(layer)
    samples = np.asarray(mc.mc_predict(mc.sampler(layer), KEY, X, 4))
    assert np.ptp(samples, axis=0).max() > 0
    linen = linen_attention()
    variables = linen.init(KEY, X, deterministic=True)
    f = mc.sampler(linen, variables, deterministic=True)
    with surgery.replaced():
        found = mc.mc_predict(f, KEY, X, 1)[0]
        key = jaxdrop.mc.mc_predict(lambda key, x: jax.random.key_data(key), KEY, X, 1)[0]
        rngs = {"dropout": jax.random.wrap_key_data(key)}
        expected = linen.apply(variables, X, deterministic=False, rngs=rngs)
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6)
