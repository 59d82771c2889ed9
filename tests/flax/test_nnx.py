"""jaxdrop.nnx.Dropout: one layer over the function, inside every NNX transform."""

import inspect
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx
from flax.nnx.filterlib import Filter

import jaxdrop
import jaxdrop.linen
from jaxdrop.nnx import Dropout

X = jnp.linspace(0.5, 2.0, 6 * 10).reshape(6, 10)


def key():
    """The same key, made again each time, so that its reuse counts as intended."""
    return jax.random.key(3)


ONES = jnp.ones((200,))


def test_arguments_are_flax_s_in_order_then_ours():
    def arguments(f):
        return [(p.name, p.kind, p.default) for p in inspect.signature(f).parameters.values()]

    ours, flax = arguments(Dropout.__init__), arguments(nnx.Dropout.__init__)
    assert ours[: len(flax)] == flax
    assert [name for name, *_ in ours[len(flax) :]] == ["scale_at", "bits", "mesh_axes"]
    assert arguments(Dropout.__call__) == arguments(nnx.Dropout.__call__)


@pytest.mark.parametrize("broadcast_dims", [(), (0,), (-1,)])
@pytest.mark.parametrize("scale_at", ["train", "test"])
@pytest.mark.parametrize("bits", ["fast", "key"])
@pytest.mark.parametrize("deterministic", [False, True])
def test_functional_linen_and_nnx_give_the_same_bits(broadcast_dims, scale_at, bits, deterministic):
    options = dict(broadcast_dims=broadcast_dims, scale_at=scale_at, bits=bits)
    mode = dict(deterministic=deterministic)
    y = jaxdrop.dropout(key(), X, 0.3, **mode, **options)
    np.testing.assert_array_equal(Dropout(0.3, **options)(X, **mode, rngs=key()), y)
    layer = jaxdrop.linen.Dropout(0.3, **options)
    np.testing.assert_array_equal(layer.apply({}, X, **mode, rng=key()), y)


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg"])
def test_bits_key_has_the_mask_of_flax_linen_for_the_same_key(impl):
    def again():
        return jax.random.key(5, impl=impl)

    expected = linen.Dropout(0.3, deterministic=False).apply({}, X, rng=again()) != 0
    np.testing.assert_array_equal(Dropout(0.3, bits="key")(X, rngs=again()) != 0, expected)
    mask = jaxdrop.keep_mask(again(), X.shape, 0.3, bits="key")
    np.testing.assert_array_equal(mask, expected)


def test_rngs_a_stream_and_its_key_give_the_same_bits():
    layer = Dropout(0.5)
    y = layer(X, rngs=nnx.Rngs(dropout=7))
    np.testing.assert_array_equal(y, layer(X, rngs=nnx.Rngs(dropout=7).dropout))
    np.testing.assert_array_equal(y, layer(X, rngs=nnx.Rngs(dropout=7).dropout()))
    np.testing.assert_array_equal(y, layer(X, rngs=nnx.Rngs(7)))  # the default stream stands in
    legacy = jax.random.key_data(nnx.Rngs(dropout=7).dropout())
    np.testing.assert_array_equal(y, layer(X, rngs=legacy))


def test_rngs_in_the_call_leave_the_layer_s_own_stream_alone():
    layer = Dropout(0.5, rngs=nnx.Rngs(0))
    layer(X, rngs=key())
    assert layer.rngs.count[...] == 0
    layer(X)
    assert layer.rngs.count[...] == 1


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_the_stream_stands_still_where_no_key_is_needed(rate):
    layer = Dropout(rate, rngs=nnx.Rngs(0))
    layer(X)
    half = Dropout(0.5, deterministic=True, scale_at="test", rngs=nnx.Rngs(0))
    np.testing.assert_array_equal(half(X), X * 0.5)
    assert layer.rngs.count[...] == half.rngs.count[...] == 0


def test_a_traced_rate_and_mode():
    layer = Dropout(0.5, rngs=nnx.Rngs(0))

    @nnx.jit
    def f(layer, rate, deterministic):
        return Dropout(rate)(X, deterministic=deterministic, rngs=layer.rngs)

    assert (f(layer, 0.5, False) == 0).any()
    np.testing.assert_array_equal(f(layer, 0.5, True), X)
    np.testing.assert_array_equal(f(layer, 1.0, False), jnp.zeros_like(X))


def test_a_traced_rate_without_rngs_still_says_what_is_missing():
    with pytest.raises(ValueError, match="no `rngs` argument"):
        jax.jit(lambda rate: Dropout(rate)(X))(0.5)


def test_a_rate_in_a_variable_changes_without_a_new_trace():
    layer: Any = Dropout(nnx.Variable(jnp.float32(0.0)), rngs=nnx.Rngs(0))
    traces = []

    @nnx.jit
    def f(layer):
        traces.append(1)
        return layer(X)

    np.testing.assert_array_equal(f(layer), X)
    layer.rate[...] = jnp.float32(1.0)
    np.testing.assert_array_equal(f(layer), jnp.zeros_like(X))
    assert len(traces) == 1


@pytest.mark.parametrize("rate", [-0.5, 1.5, float("nan"), "0.5", True])
def test_a_bad_rate_is_told(rate):
    with pytest.raises((TypeError, ValueError), match="rate=.*expected 0 <= rate <= 1"):
        Dropout(rate, rngs=nnx.Rngs(0))(X)


def test_jit_advances_the_stream_and_gives_the_eager_bits():
    eager, jitted = Dropout(0.5, rngs=nnx.Rngs(0)), Dropout(0.5, rngs=nnx.Rngs(0))
    call = nnx.jit(lambda layer, x: layer(x))
    for _ in range(3):
        np.testing.assert_array_equal(call(jitted, X), eager(X))
    assert jitted.rngs.count[...] == 3


def test_scan_over_time_draws_a_new_mask_in_every_step():
    layer = Dropout(0.5, rngs=nnx.Rngs(0))

    streams: dict[Filter, Any] = {nnx.RngState: nnx.Carry}

    @nnx.scan(in_axes=(nnx.StateAxes(streams), nnx.Carry, 0), out_axes=(nnx.Carry, 0))
    def steps(layer, carry, x):
        return carry, layer(x)

    _, y = steps(layer, 0.0, jnp.ones((5, 200)))
    eager = Dropout(0.5, rngs=nnx.Rngs(0))
    np.testing.assert_array_equal(y, jnp.stack([eager(ONES) for _ in range(5)]))
    assert layer.rngs.count[...] == 5


class Block(nnx.Module):
    def __init__(self, rngs):
        self.dense = nnx.Linear(10, 10, rngs=rngs)
        self.drop = Dropout(0.5, rngs=rngs)

    def __call__(self, x):
        return self.drop(nnx.tanh(self.dense(x)))


def stacked_blocks(n):
    @nnx.split_rngs(splits=n)
    @nnx.vmap(in_axes=(0,), out_axes=0)
    def create(rngs):
        return Block(rngs)

    return create(nnx.Rngs(0, dropout=1))


@pytest.mark.slow
def test_scan_over_layers_has_a_mask_and_a_gradient_per_layer():
    blocks = stacked_blocks(4)

    @nnx.scan(in_axes=(0, nnx.Carry), out_axes=(nnx.Carry, 0))
    def forward(block, x):
        y = block(x)
        return y, y == 0

    _, dropped = forward(blocks, X)
    assert len(np.unique(np.asarray(dropped).reshape(4, -1), axis=0)) == 4
    np.testing.assert_array_equal(blocks.drop.rngs.count[...], [1, 1, 1, 1])
    grads = nnx.grad(lambda b: forward(b, X)[0].sum())(blocks)
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(grads))


def test_split_rngs_gives_each_member_of_vmap_its_own_mask():
    layer = Dropout(0.5, rngs=nnx.Rngs(0))

    @nnx.split_rngs(splits=5)
    @nnx.vmap(in_axes=(0, None))
    def members(layer, x):
        return layer(x)

    assert len(np.unique(np.asarray(members(layer, ONES)), axis=0)) == 5


def test_vmap_over_keys_is_a_loop_over_them():
    layer = Dropout(0.5)
    y = nnx.vmap(lambda key: layer(ONES, rngs=key))(jax.random.split(key(), 4))
    loop = [layer(ONES, rngs=each) for each in jax.random.split(key(), 4)]
    np.testing.assert_array_equal(y, jnp.stack(loop))


def test_remat_keeps_value_gradient_and_stream():
    plain, remat = Block(nnx.Rngs(0)), Block(nnx.Rngs(0))
    rematted = nnx.remat(lambda block, x: block(x))

    def loss(block, call):
        return call(block, X).sum()

    value, grads = nnx.value_and_grad(loss)(plain, lambda block, x: block(x))
    again, regrads = nnx.value_and_grad(loss)(remat, rematted)
    np.testing.assert_allclose(again, value, rtol=1e-6)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), grads, regrads
    )
    assert remat.drop.rngs.count[...] == plain.drop.rngs.count[...] == 1


def test_the_graph_definition_tells_layers_with_other_options_apart():
    graphdef, state = nnx.split(Dropout(0.5, bits="key", rngs=nnx.Rngs(0)))
    assert graphdef != nnx.split(Dropout(0.5, rngs=nnx.Rngs(0)))[0]
    merged = nnx.merge(graphdef, state)
    assert isinstance(merged, Dropout) and merged.bits == "key"
    assert hash(graphdef) == hash(nnx.graphdef(merged))


def test_tree_mode_works():
    layer = Dropout(0.5, rngs=nnx.Rngs(0))
    y = nnx.jit(lambda layer, x: layer(x), graph=False)(layer, X)
    np.testing.assert_array_equal(y, Dropout(0.5, rngs=nnx.Rngs(0))(X))
