"""jaxdrop.testing of layers: each assertion passes on what is right, fails on a planted defect."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx

import jaxdrop
import jaxdrop.linen
import jaxdrop.nnx
from jaxdrop.testing import (
    assert_deterministic_eval,
    assert_gradient_uses_mask,
    assert_mean_preserved,
)

X = jnp.linspace(0.5, 2.0, 100)


# assert_deterministic_eval


def linen_eval(model, deterministic):
    def apply_fn(key, x):
        rngs = None if key is None else {"dropout": key}
        return model.apply({}, x, deterministic=deterministic, rngs=rngs)

    return apply_fn


def nnx_eval(model):
    def apply_fn(key, x):
        if key is not None:
            nnx.reseed(model, dropout=key)
        return model(x)

    return apply_fn


@pytest.mark.parametrize("scale_at", ["train", "test"])
def test_deterministic_eval_accepts_test_mode(scale_at):
    options = dict(scale_at=scale_at)
    assert_deterministic_eval(linen_eval(jaxdrop.linen.Dropout(0.5, **options), True), X)
    model = jaxdrop.nnx.Dropout(0.5, rngs=nnx.Rngs(0), **options)
    model.eval()
    assert_deterministic_eval(nnx_eval(model), X)
    assert_deterministic_eval(lambda key, x: {"nan": x / 0, "y": x}, jnp.zeros(3))


@pytest.mark.parametrize("c", [nn.Dropout, jaxdrop.linen.Dropout])
def test_deterministic_eval_finds_a_layer_that_asks_for_a_key(c):
    with pytest.raises(AssertionError, match="without a key, but .* raised InvalidRngError"):
        assert_deterministic_eval(linen_eval(c(0.5), False), X)


@pytest.mark.parametrize("c", [nnx.Dropout, jaxdrop.nnx.Dropout])
def test_deterministic_eval_finds_a_forgotten_eval(c):
    with pytest.raises(AssertionError, match=r"a second call without a key changed \d+ of 100"):
        assert_deterministic_eval(nnx_eval(c(0.5, rngs=nnx.Rngs(0))), X)


def test_deterministic_eval_finds_noise_that_comes_with_the_key_alone():
    def noisy(key, x):
        return x if key is None else x.at[3].add(1e-6 * jax.random.normal(key))

    found = r"key\(0\) changed 1 of 100 elements of the output, the first at \(3,\).* is 0"
    with pytest.raises(AssertionError, match=found):
        assert_deterministic_eval(noisy, X)


def test_deterministic_eval_compares_bits_shapes_and_structure():
    with pytest.raises(AssertionError, match="changed 1 of 1"):
        assert_deterministic_eval(lambda key, x: x if key is None else -x, jnp.zeros(()))
    with pytest.raises(AssertionError, match=r"float16\(2,\) for output\['a'\]"):
        assert_deterministic_eval(
            lambda key, x: {"a": x if key is None else x.astype(jnp.float16)}, jnp.zeros(2)
        )
    with pytest.raises(AssertionError, match="same structure"):
        assert_deterministic_eval(lambda key, x: [x] if key is None else [x, x], X)
    with pytest.raises(ValueError, match="no array"):
        assert_deterministic_eval(lambda key, x: None, X)


@pytest.mark.parametrize("model", ["linen", "nnx", "plain"])
def test_deterministic_eval_says_that_the_key_comes_first(model):
    layer = jaxdrop.nnx.Dropout(0.5, rngs=nnx.Rngs(0))
    layer.eval()
    fn = {
        "linen": linen_eval(jaxdrop.linen.Dropout(0.5), True),
        "nnx": nnx_eval(layer),
        "plain": lambda key, x: 2 * x,
    }[model]
    assert_deterministic_eval(fn, X)
    with pytest.raises(TypeError, match=r"apply_fn is called with \(key, x\), .*: swap its pa"):
        assert_deterministic_eval(lambda x, key: fn(key, x), X)


@pytest.mark.parametrize("check", [assert_mean_preserved, assert_gradient_uses_mask])
@pytest.mark.parametrize("make_key", [jax.random.key, jax.random.PRNGKey])
def test_the_key_comes_first(check, make_key):
    def fn(key, x):
        return jaxdrop.dropout(key, x, 0.5)

    check(fn, make_key(0), X)
    with pytest.raises(TypeError, match=rf"second; {check.__name__} takes \(fn, key, x\): swap"):
        check(fn, X, make_key(0))
    with pytest.raises(TypeError, match=r"^fn is called with \(key, x\), and yours works with \(x"):
        check(lambda x, key: fn(key, x), make_key(0), X)
    with pytest.raises(ZeroDivisionError):  # its own error, where the order is not the reason
        check(lambda key, x: 1 / 0, make_key(0), X)


# assert_mean_preserved


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("options", [{}, {"broadcast_dims": (0,)}])
@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.9])
def test_mean_preserved_accepts_dropout(dtype, rate, options):
    x = X.astype(dtype).reshape(4, 25)
    assert_mean_preserved(
        lambda key, x: jaxdrop.dropout(key, x, rate, **options), jax.random.key(0), x
    )


def test_mean_preserved_accepts_a_rate_per_channel():
    rates = np.linspace(0.0, 0.9, 100)
    assert_mean_preserved(lambda k, x: jaxdrop.dropout(k, x, rates), jax.random.key(0), X)


def test_mean_preserved_finds_missing_inverse_scaling():
    with pytest.raises(AssertionError, match=r"mean of y / x is 0\.\d+ .*expected 1.*less than"):
        assert_mean_preserved(
            lambda k, x: jaxdrop.dropout(k, x, 0.1, scale_at="test"), jax.random.key(0), X
        )


def test_mean_preserved_finds_scaling_by_the_wrong_rate():
    def fn(key, x):
        return jnp.where(jaxdrop.keep_mask(key, x.shape, 0.5), x / 0.7, 0.0)

    with pytest.raises(AssertionError, match="probability"):
        assert_mean_preserved(fn, jax.random.key(0), X)


@pytest.mark.parametrize("factor", [0.0, 0.9, 1.1, -1.0])
def test_mean_preserved_finds_a_constant_factor(factor):
    with pytest.raises(AssertionError, match="expected 1"):
        assert_mean_preserved(lambda key, x: x * factor, jax.random.key(0), X)


def test_mean_preserved_finds_one_biased_element():
    def fn(key, x):
        return jaxdrop.dropout(key, x, 0.5).at[7].mul(0.5)

    with pytest.raises(AssertionError, match=r"at \(7,\)"):
        assert_mean_preserved(fn, jax.random.key(0), X)


def test_mean_preserved_takes_bounded_noise_with_its_support():
    def fn(key, x, mean=1.0):
        return x * jax.random.uniform(key, x.shape, minval=mean - 0.5, maxval=mean + 0.5)

    with pytest.raises(ValueError, match="more than two values.*support"):
        assert_mean_preserved(fn, jax.random.key(0), X)
    assert_mean_preserved(fn, jax.random.key(0), X, support=(0.5, 1.5))
    with pytest.raises(AssertionError, match="probability"):
        assert_mean_preserved(lambda k, x: fn(k, x, 0.8), jax.random.key(0), X, support=(0.3, 1.5))
    with pytest.raises(AssertionError, match="expected within support"):
        assert_mean_preserved(fn, jax.random.key(0), X, support=(0.9, 1.1))


def test_mean_preserved_tells_what_it_cannot_test():
    with pytest.raises(ValueError, match="1 of 2 elements zero or not finite"):
        assert_mean_preserved(lambda k, x: x, jax.random.key(0), jnp.array([0.0, 1.0]))
    with pytest.raises(TypeError, match="dtype int32"):
        assert_mean_preserved(lambda k, x: x, jax.random.key(0), jnp.arange(1, 3))
    with pytest.raises(AssertionError, match=r"y has shape \(\)"):
        assert_mean_preserved(lambda k, x: x.sum(), jax.random.key(0), X)


# assert_gradient_uses_mask


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("scale_at", ["train", "test"])
def test_gradient_accepts_dropout(dtype, scale_at):
    assert_gradient_uses_mask(
        lambda k, x: jaxdrop.dropout(k, x, 0.3, scale_at=scale_at),
        jax.random.key(0),
        X.astype(dtype),
    )


def test_gradient_accepts_flax():
    def fn(key, x):
        return nn.Dropout(0.3, deterministic=False).apply({}, x, rng=key)

    assert_gradient_uses_mask(fn, jax.random.key(0), X)


def with_backward(backward):
    """Dropout whose gradient is what ``backward(key, cotangent)`` says."""

    def fn(key, x):
        @jax.custom_vjp
        def drop(x):
            return jaxdrop.dropout(key, x, 0.5)

        drop.defvjp(lambda x: (drop(x), None), lambda _, g: (backward(key, g),))
        return drop(x)

    return fn


def test_gradient_accepts_the_right_hand_written_one():
    fn = with_backward(lambda key, g: jaxdrop.dropout(key, g, 0.5))
    assert_gradient_uses_mask(fn, jax.random.key(0), X)


def test_gradient_finds_a_mask_of_another_key():
    fn = with_backward(lambda key, g: jaxdrop.dropout(jax.random.fold_in(key, 1), g, 0.5))
    with pytest.raises(AssertionError, match=r"but \d+ elements are dropped in one .* is 0$"):
        assert_gradient_uses_mask(fn, jax.random.key(0), X)


def test_gradient_finds_a_missing_scale():
    fn = with_backward(lambda key, g: jaxdrop.dropout(key, g, 0.5, scale_at="test"))
    with pytest.raises(AssertionError, match=r"gradient is 1 at .* where y / x is 2, .*expected"):
        assert_gradient_uses_mask(fn, jax.random.key(0), X)


def test_gradient_finds_a_missing_mask():
    with pytest.raises(AssertionError, match="the gradient is 0 at 0, but"):
        assert_gradient_uses_mask(with_backward(lambda key, g: 2 * g), jax.random.key(0), X)


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_gradient_tells_what_it_cannot_test(rate):
    with pytest.raises(ValueError, match=f"drops {int(100 * rate)} of 100 elements"):
        assert_gradient_uses_mask(lambda k, x: jaxdrop.dropout(k, x, rate), jax.random.key(0), X)
