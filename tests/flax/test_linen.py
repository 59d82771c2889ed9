"""jaxdrop.linen.Dropout: one layer over the function, inside every lifted transform."""

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import jaxdrop
from jaxdrop.linen import Dropout

X = jnp.linspace(0.5, 2.0, 6 * 10).reshape(6, 10)


def key():
    """The same key, made again each time, so that its reuse counts as intended."""
    return jax.random.key(3)


def apply(layer, x=X, **kwargs):
    return layer.apply({}, x, **kwargs)


def test_fields_are_flax_s_in_order_then_ours():
    def fields(c):
        return [(f.name, f.default) for f in dataclasses.fields(c) if f.name not in _OWN_OF_MODULE]

    assert fields(Dropout) == fields(nn.Dropout) + [
        ("scale_at", "train"),
        ("bits", "fast"),
        ("mesh_axes", ()),
    ]


_OWN_OF_MODULE = ("parent", "name")


@pytest.mark.slow
@pytest.mark.parametrize("broadcast_dims", [(), (0,), (-1,)])
@pytest.mark.parametrize("scale_at", ["train", "test"])
@pytest.mark.parametrize("bits", ["fast", "key"])
@pytest.mark.parametrize("deterministic", [False, True])
def test_is_the_function_with_rng_as_key(broadcast_dims, scale_at, bits, deterministic):
    options = dict(broadcast_dims=broadcast_dims, scale_at=scale_at, bits=bits)
    y = apply(Dropout(0.3, **options), deterministic=deterministic, rng=key())
    expected = jaxdrop.dropout(key(), X, 0.3, deterministic=deterministic, **options)
    np.testing.assert_array_equal(y, expected)


def test_legacy_keys_are_taken():
    legacy = jax.random.PRNGKey(3)
    y = apply(Dropout(0.3, deterministic=False), rng=legacy)
    np.testing.assert_array_equal(y, jaxdrop.dropout(legacy, X, 0.3))


def test_rng_collection_is_asked_for():
    y = apply(Dropout(0.3, deterministic=False, rng_collection="noise"), rngs={"noise": key()})
    flax = nn.Dropout(0.3, deterministic=False, rng_collection="noise")
    np.testing.assert_array_equal(y, jaxdrop.dropout(root_key(flax), X, 0.3))


def root_key(layer):
    """The key that a layer at the root takes from its collection."""
    return layer.apply({}, method=lambda m: m.make_rng(m.rng_collection), rngs={"noise": key()})


def test_test_scaling_needs_no_rng_at_test_time():
    y = apply(Dropout(0.25, deterministic=True, scale_at="test"))
    np.testing.assert_array_equal(y, X * 0.75)


def test_a_traced_rate_and_mode():
    @jax.jit
    def f(rate, deterministic):
        return apply(Dropout(rate), deterministic=deterministic, rng=key())

    expected = jaxdrop.keep_mask(key(), X.shape, 0.5)
    np.testing.assert_array_equal(f(0.5, False) != 0, expected)
    np.testing.assert_array_equal(f(0.5, True), X)


def test_a_rate_per_channel():
    rate = np.linspace(0.0, 1.0, 10)
    y = apply(Dropout(rate, deterministic=False), rngs={"dropout": key()})
    assert (y[:, 0] == X[:, 0]).all() and (y[:, -1] == 0).all()


@pytest.mark.parametrize("rate", [-0.5, 1.5, float("nan"), "0.5", True])
def test_a_bad_rate_is_told(rate):
    with pytest.raises((TypeError, ValueError), match="rate=.*expected 0 <= rate <= 1"):
        apply(Dropout(rate, deterministic=False), rngs={"dropout": key()})


def test_integer_input_is_told():
    for rate in (0.5, 1.0):
        with pytest.raises(TypeError, match="floating or complex"):
            apply(Dropout(rate, deterministic=False), jnp.arange(3), rngs={"dropout": key()})


class Block(nn.Module):
    """A layer that a transform can lift: scan passes the carry on."""

    bits: Literal["fast", "key"] = "fast"

    @nn.compact
    def __call__(self, x, _=None):
        x = nn.Dense(10, kernel_init=nn.initializers.normal(0.5))(x)
        y = Dropout(0.5, deterministic=False, bits=self.bits)(x)
        return y, y == 0


def run(module):
    variables = module.init({"params": jax.random.key(0), "dropout": jax.random.key(1)}, X, None)
    return variables, module.apply(variables, X, None, rngs={"dropout": key()})


@pytest.mark.slow
@pytest.mark.parametrize("bits", ["fast", "key"])
def test_remat_changes_nothing(bits):
    plain, lifted = Block(bits), nn.remat(Block)(bits)
    variables, expected = run(plain)

    def loss(params, module):
        y, _ = module.apply(params, X, None, rngs={"dropout": key()})
        return y.sum(), y

    gradient = jax.grad(loss, has_aux=True)
    (grads, y), (regrads, again) = gradient(variables, plain), gradient(variables, lifted)
    np.testing.assert_array_equal(y, expected[0])
    np.testing.assert_array_equal(again, y)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), grads, regrads)


@pytest.mark.slow
@pytest.mark.parametrize("lift", [lambda c: c, nn.jit, nn.remat])
def test_a_lifted_layer_draws_flax_s_mask_from_the_same_rngs(lift):
    def mask(c, **options):
        layer = lift(c)(0.5, deterministic=False, **options)
        return layer.apply({}, X, rngs={"dropout": key()}) != 0

    np.testing.assert_array_equal(mask(Dropout, bits="key"), mask(nn.Dropout))


@pytest.mark.slow
def test_scan_draws_a_new_mask_in_every_layer():
    layers = nn.scan(
        Block, variable_axes={"params": 0}, split_rngs={"params": True, "dropout": True}, length=4
    )()
    variables, (_, dropped) = run(layers)
    assert len(np.unique(np.asarray(dropped).reshape(4, -1), axis=0)) == 4
    grads = jax.grad(lambda v: layers.apply(v, X, None, rngs={"dropout": key()})[0].sum())(
        variables
    )
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(grads))


class Bare(nn.Module):
    """Only dropout, so that the output shows the mask."""

    @nn.compact
    def __call__(self, carry, x):
        y = Dropout(0.5, deterministic=False)(x)
        return carry, y


@pytest.mark.parametrize("split", [True, False])
def test_split_rngs_decides_whether_scan_steps_share_a_mask(split):
    steps = nn.scan(Bare, split_rngs={"dropout": split})()
    ones = jnp.ones((5, 200))
    _, y = steps.apply({}, 0.0, ones, rngs={"dropout": key()})
    assert len(np.unique(np.asarray(y), axis=0)) == (5 if split else 1)


@pytest.mark.parametrize("split", [True, False])
def test_split_rngs_decides_whether_vmap_members_share_a_mask(split):
    members = nn.vmap(Bare, in_axes=(None, 0), out_axes=(None, 0), split_rngs={"dropout": split})()
    ones = jnp.ones((5, 200))
    _, y = members.apply({}, 0.0, ones, rngs={"dropout": key()})
    assert len(np.unique(np.asarray(y), axis=0)) == (5 if split else 1)


def test_a_rate_per_layer_under_scan():
    class Layer(nn.Module):
        @nn.compact
        def __call__(self, x, rate):
            x = Dropout(rate, deterministic=False)(x)
            return x, (x == 0).mean()

    layers = nn.scan(Layer, split_rngs={"dropout": True})()
    rates = jnp.array([0.0, 0.0, 1.0])
    _, dropped = layers.apply({}, jnp.ones((100,)), rates, rngs={"dropout": key()})
    np.testing.assert_array_equal(dropped, [0.0, 0.0, 1.0])


def test_tabulate_works():
    text = Block().tabulate({"params": jax.random.key(0), "dropout": jax.random.key(1)}, X)
    assert "Dropout_0" in text
