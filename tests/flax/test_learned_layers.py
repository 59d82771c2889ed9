"""The modules of DropConnect, Concrete and variational dropout: they call their functions."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx

import jaxdrop
import jaxdrop.linen
import jaxdrop.nnx
from tests.flax.layers import nnx_class

KEY = jax.random.key(5)
X = jnp.linspace(-1, 1, 24).reshape(6, 4)
IMAGES = jnp.linspace(-1, 1, 2 * 6 * 6 * 4).reshape(2, 6, 6, 4)


def params_of(layer):
    return nnx.to_pure_dict(nnx.state(layer, nnx.Param))


def drop_connect(key, x, p, **options):
    options.setdefault("per_example", True)
    return jaxdrop.drop_connect_dense(key, x, 0.5, kernel=p["kernel"], **options) + p["bias"][None]


def concrete(key, x, p, **options):
    return jaxdrop.concrete_dropout(key, x, jax.nn.sigmoid(p["logit"]), **options)


def dense(key, x, p, **options):
    y = jaxdrop.variational_dense(key, x, p["kernel"], p["log_sigma2"], **options)
    return y + p["bias"][None]


def conv(key, x, p, **options):
    options |= {"strides": 2, "padding": "VALID"}
    y = jaxdrop.variational_conv(key, x, p["kernel"], p["log_sigma2"], **options)
    return y + p["bias"][None, None, None]


def variational(key, x, p, **options):
    return jaxdrop.variational_dropout(key, x, p["log_alpha"], **options)


CASES: dict[str, tuple[Any, ...]] = {
    "DropConnectDense": ((3, 0.5), {"per_example": True}, X, drop_connect),
    "ConcreteDropout": ((0.2,), {}, X, concrete),
    "VariationalDropout": ((0.2,), {}, X, variational),
    "VariationalDense": ((3,), {"init_log_sigma2": -1.0}, X, dense),
    "VariationalConv": ((3, (3, 3)), {"strides": 2, "padding": "VALID"}, IMAGES, conv),
}


def build(name, **more):
    """A Linen layer, its parameters, an NNX layer with the same ones, input and function."""
    args, options, x, function = CASES[name]
    linen = getattr(jaxdrop.linen, name)(*args, **options)
    params = linen.init(jax.random.key(0), x, deterministic=True)["params"]
    params = jax.tree.map(lambda v: v + 0.1, params)
    args = args if name == "ConcreteDropout" else (x.shape[-1], *args)
    layer = nnx_class(name)(*args, **options, rngs=nnx.Rngs(0))
    assert jax.tree.map(jnp.shape, params_of(layer)) == jax.tree.map(jnp.shape, params)
    nnx.update(layer, {k: nnx.Param(v) for k, v in params.items()})
    return linen, params, layer, x, function


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_linen_and_nnx_give_what_the_function_gives(name):
    linen, params, layer, x, function = build(name)
    want = function(KEY, x, params)
    ours = linen.apply({"params": params}, x, deterministic=False, rng=KEY)
    np.testing.assert_array_equal(ours, want)
    np.testing.assert_array_equal(layer(x, rngs=KEY), want)
    quiet = function(None, x, params, deterministic=True)
    ours = linen.apply({"params": params}, x, deterministic=True)
    np.testing.assert_array_equal(ours, quiet)
    layer.eval()
    np.testing.assert_array_equal(layer(x), quiet)
    viewed = nnx.view(layer, deterministic=False)
    assert (viewed(x) != quiet).any()


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_keys_come_from_the_collection_and_change_from_call_to_call(name):
    linen, params, layer, x, _ = build(name)

    def apply(seed):
        rngs = {"dropout": jax.random.key(seed)}
        return linen.apply({"params": params}, x, deterministic=False, rngs=rngs)

    assert (apply(0) == apply(0)).all() and (apply(0) != apply(1)).any()
    assert (layer(x) != layer(x)).any()


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_every_parameter_gets_a_gradient(name):
    linen, params, layer, x, _ = build(name)
    g = jax.grad(
        lambda p: (linen.apply({"params": p}, x, deterministic=False, rng=KEY) ** 2).sum()
    )(params)
    ours = nnx.grad(lambda m: (m(x, rngs=KEY) ** 2).sum())(layer)
    for leaf in (*jax.tree.leaves(g), *jax.tree.leaves(nnx.to_pure_dict(ours))):
        assert np.isfinite(leaf).all() and (leaf != 0).any()


def test_a_missing_key_or_mode_is_told_in_a_sentence():
    layer = jaxdrop.nnx.ConcreteDropout()
    with pytest.raises(ValueError, match="ConcreteDropout needs a key while training"):
        layer(X)
    with pytest.raises(ValueError, match="does not know its mode"):
        jaxdrop.nnx.ConcreteDropout(deterministic=None)(X)
    with pytest.raises(ValueError, match="got init_rate=0, expected 0 < init_rate < 1"):
        jaxdrop.nnx.ConcreteDropout(0)
    with pytest.raises(ValueError, match="got init_rate=1, expected 0 < init_rate < 1"):
        jaxdrop.linen.ConcreteDropout(1, deterministic=True).init(KEY, X)


def test_rate_zero_needs_no_key():
    layer = jaxdrop.linen.DropConnectDense(3, 0.0, deterministic=False)
    params = layer.init(jax.random.key(0), X)
    np.testing.assert_array_equal(layer.apply(params, X), nn.Dense(3).apply(params, X))


@pytest.mark.slow
def test_variational_helpers_read_the_parameters_of_a_model():
    model = nnx.Sequential(
        jaxdrop.nnx.VariationalLinear(4, 3, rngs=nnx.Rngs(0)),
        jaxdrop.nnx.VariationalLinear(3, 2, init_log_sigma2=8.0, rngs=nnx.Rngs(1)),
    )
    params = params_of(model)
    sparsity = jaxdrop.variational.sparsity(params)
    assert sparsity == {"layers/0": 0.0, "layers/1": 1.0}
    assert jaxdrop.variational.loss(params) > 0


def test_variational_dropout_starts_at_the_noise_of_its_rate():
    for rate, alpha in ((0.2, 0.25), (0.5, 1.0), (0.9, 1.0)):
        for shared, shape in ((False, (4,)), (True, ())):
            linen = jaxdrop.linen.VariationalDropout(rate, shared=shared, deterministic=True)
            layer = jaxdrop.nnx.VariationalDropout(None if shared else 4, rate)
            for log_alpha in (linen.init(KEY, X)["params"]["log_alpha"], layer.log_alpha[...]):
                assert log_alpha.shape == shape
                np.testing.assert_allclose(jnp.exp(log_alpha), alpha, rtol=1e-6)
    with pytest.raises(ValueError, match="got init_rate=0, expected 0 < init_rate < 1"):
        jaxdrop.nnx.VariationalDropout(4, 0)
    with pytest.raises(ValueError, match="got init_rate=1, expected 0 < init_rate < 1"):
        jaxdrop.linen.VariationalDropout(1, deterministic=True).init(KEY, X)


@pytest.mark.slow
def test_variational_dropout_learns_its_noise_while_it_is_projected():
    layer = jaxdrop.nnx.VariationalDropout(4, 0.2)

    def loss(layer):
        price = jaxdrop.variational.kl_divergence(layer.log_alpha[...], "kingma")
        return (layer(X, rngs=KEY) ** 2).sum() + price

    def slope():
        return nnx.grad(loss)(layer)["log_alpha"][...]

    assert (slope() != 0).all()
    layer.log_alpha[...] += 10.0
    assert (slope() == 0).all()  # dead, as its docstring says
    layer.log_alpha[...] = jnp.minimum(layer.log_alpha[...], 0)
    assert (slope() != 0).all()


@pytest.mark.slow
def test_a_window_of_one_dimension_and_strides_of_numpy():
    x = jnp.ones((2, 9, 3))
    two: Any = np.int64(2)
    params = {"params": KEY}
    layers = [jaxdrop.linen.VariationalConv(4, size, strides=two) for size in (3, (3,))]
    shapes = [
        jax.eval_shape(lambda layer=layer: layer.init_with_output(params, x, deterministic=True))
        for layer in layers
    ]
    assert shapes[0] == shapes[1] and shapes[0][0].shape == (2, 5, 4)
    layer = jaxdrop.nnx.VariationalConv(3, 4, 3, strides=two, rngs=nnx.Rngs(0))
    assert layer(x, deterministic=True).shape == (2, 5, 4)


def test_a_rate_in_the_place_of_features_is_told_so():
    with pytest.raises(TypeError, match=r"^got features=0.2 of type float, .* init_rate comes aft"):
        jaxdrop.nnx.VariationalDropout(0.2)  # type: ignore[arg-type]
