"""The invariants of dropout and keep_mask over shapes, dtypes, rates and broadcast dims."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import jaxdrop

KEY = jax.random.key(2014)
DTYPES = (jnp.float16, jnp.bfloat16, jnp.float32, jnp.complex64)
BITS = ("fast", "key")

shapes = st.lists(st.integers(0, 5), max_size=5).map(tuple)
rates = st.one_of(st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]), st.floats(0, 1))


@st.composite
def shapes_and_dims(draw):
    shape = draw(shapes)
    dims = st.sampled_from(range(-len(shape), len(shape))) if shape else st.nothing()
    each_once = lambda d: d % len(shape)  # noqa: E731 (one line)
    return shape, tuple(draw(st.lists(dims, max_size=len(shape), unique_by=each_once)))


def values(shape, dtype=jnp.float32):
    """Nonzero values of both signs, so that a zero in the output is a dropped element."""
    x = np.linspace(-2.1, 3.3, int(np.prod(shape))).reshape(shape) + 0.01
    return jnp.asarray(x, dtype)


def scaled(x, rate, scale_at):
    factor = 1.0 if scale_at == "test" or rate == 1 else 1 / (1 - rate)
    wide = jnp.float32 if x.dtype.itemsize == 2 else x.dtype  # rounded once, as a product
    return (x.astype(wide) * np.asarray(factor).astype(wide)).astype(x.dtype)


def identical(a, b):
    assert a.dtype == b.dtype
    np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


@pytest.mark.slow
@given(
    shapes_and_dims(), rates, st.sampled_from(DTYPES), st.sampled_from(["train", "test"]),
    st.sampled_from(BITS),
)  # fmt: skip
def test_is_the_mask_times_the_scale_and_so_is_the_gradient(where, rate, dtype, scale_at, bits):
    shape, dims = where
    x = values(shape, dtype)
    mask = jaxdrop.keep_mask(KEY, shape, rate, broadcast_dims=dims, bits=bits)
    assert mask.shape == shape and mask.dtype == jnp.bool_

    def apply(x):
        return jaxdrop.dropout(KEY, x, rate, broadcast_dims=dims, scale_at=scale_at, bits=bits)

    y, vjp = jax.vjp(apply, x)
    zeros = jnp.zeros_like(x)
    identical(y, jnp.where(mask, scaled(x, rate, scale_at), zeros))
    identical(
        vjp(jnp.ones_like(x))[0], jnp.where(mask, scaled(jnp.ones_like(x), rate, scale_at), zeros)
    )


@pytest.mark.slow
@given(shapes_and_dims(), rates)
def test_broadcast_dims_share_one_decision(where, rate):
    shape, dims = where
    mask = np.asarray(jaxdrop.keep_mask(KEY, shape, rate, broadcast_dims=dims))
    for d in dims:
        assert (mask == mask.max(axis=d, keepdims=True, initial=False)).all()


@pytest.mark.slow
@settings(max_examples=10)  # five compilations each
@given(shapes, rates)
def test_static_traced_and_array_rates_agree(shape, rate):
    rate = float(np.float32(rate))  # what a float32 rate can hold
    x = values(shape)
    expected = jaxdrop.dropout(KEY, x, rate)
    # 1 / (1 - rate) is rounded to float32 either at once or after a float32 division
    for other in (jnp.float32(rate), np.full((1,) * len(shape), rate), np.full(shape, rate)):
        np.testing.assert_allclose(jaxdrop.dropout(KEY, x, other), expected, rtol=3e-7)
        identical(jaxdrop.keep_mask(KEY, shape, other), jaxdrop.keep_mask(KEY, shape, rate))
    traced = jax.jit(jaxdrop.dropout)(KEY, x, rate)
    np.testing.assert_allclose(traced, expected, rtol=3e-7)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rate", [0.3, jnp.float32(0.3), np.full((7,), 0.3)])
def test_dtype_is_kept_under_jit_and_eager(dtype, rate):
    x = values((5, 7), dtype)
    for f in (jaxdrop.dropout, jax.jit(jaxdrop.dropout)):
        y = f(KEY, x, rate)
        assert y.dtype == dtype and y.shape == x.shape
        identical(y, jaxdrop.dropout(KEY, x, rate))


def test_rates_per_channel_and_per_layer_under_scan():
    x = values((64, 3))
    per_channel = jaxdrop.dropout(KEY, x, np.array([0.0, 0.5, 1.0]))
    identical(per_channel[:, 0], x[:, 0])
    assert not per_channel[:, 2].any()

    layer_rates = jnp.array([0.1, 0.6])

    def layer(x, at):
        rate, key = at
        return jaxdrop.dropout(key, x, rate), None

    keys = jax.random.split(KEY, 2)
    scanned, _ = jax.lax.scan(layer, x, (layer_rates, keys))
    looped = x
    for rate, key in zip(layer_rates, keys, strict=True):
        looped = jaxdrop.dropout(key, looped, rate)
    np.testing.assert_allclose(scanned, looped, rtol=1e-6)
    identical(scanned == 0, looped == 0)


@pytest.mark.parametrize("rate", [1.0, jnp.float32(1.0), np.ones((4,)), 1])
@pytest.mark.parametrize("scale_at", ["train", "test"])
def test_rate_one_is_zeros_with_zero_gradients(rate, scale_at):
    y, vjp = jax.vjp(lambda x: jaxdrop.dropout(KEY, x, rate, scale_at=scale_at), values((3, 4)))
    identical(y, jnp.zeros((3, 4)))
    identical(vjp(jnp.ones((3, 4)))[0], jnp.zeros((3, 4)))


@pytest.mark.parametrize("rate", [0.0, 0, jnp.float32(0.0), np.zeros((4,))])
def test_rate_zero_is_the_identity(rate):
    x = values((3, 4)).at[0, 0].set(jnp.nan)
    identical(jaxdrop.dropout(KEY, x, rate), x)
    identical(jax.grad(lambda x: jaxdrop.dropout(KEY, x, rate)[1:].sum())(x)[1:], jnp.ones((2, 4)))


def test_traced_rates_are_clipped_and_get_no_gradient():
    x = values((8, 8))
    f = jax.jit(jaxdrop.dropout)
    identical(f(KEY, x, -0.5), x)
    identical(f(KEY, x, 1.5), jnp.zeros_like(x))
    assert jnp.isnan(f(KEY, x, jnp.nan)).all()  # loud, as nothing can be raised
    assert jax.grad(lambda r: jaxdrop.dropout(KEY, x, r).sum())(0.3) == 0


@pytest.mark.slow
@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf, -jnp.inf])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_dropped_nan_or_infinity_is_zero_and_so_is_its_gradient(bad, dtype):
    x = jnp.full((64,), bad, dtype)
    mask = jaxdrop.keep_mask(KEY, (64,), 0.5)
    y, vjp = jax.vjp(lambda x: jaxdrop.dropout(KEY, x, 0.5), x)
    assert not y[~mask].any() and not jnp.isfinite(y[mask]).any()
    for cotangent in (jnp.ones_like(x), x):
        assert not vjp(cotangent)[0][~mask].any()


@pytest.mark.parametrize("rate", [0.25, jnp.float32(0.25), np.full((5,), 0.25)])
@pytest.mark.parametrize("scale_at", ["train", "test"])
def test_deterministic_static_and_traced(rate, scale_at):
    x = values((6, 5))
    test_output = x if scale_at == "train" else x * np.float32(0.75)
    train_output = jaxdrop.dropout(KEY, x, rate, scale_at=scale_at)
    f = jax.jit(lambda d: jaxdrop.dropout(KEY, x, rate, deterministic=d, scale_at=scale_at))
    for d in (True, np.True_):
        identical(jaxdrop.dropout(None, x, rate, deterministic=d, scale_at=scale_at), test_output)
    identical(f(True), test_output)
    identical(f(False), train_output)


@pytest.mark.parametrize(
    ("scale_at", "rate"), [("train", 0.1), ("train", 0.5), ("test", 0.3), ("test", 0.9)]
)
def test_training_and_test_means_agree(scale_at, rate):
    n = 1 << 18
    y = jaxdrop.dropout(KEY, jnp.ones(n), rate, scale_at=scale_at)
    z = jaxdrop.dropout(None, jnp.ones(n), rate, scale_at=scale_at, deterministic=True)
    kept = round(float(y.sum(dtype=jnp.float32) / y.max()))
    top = 1 / (1 - rate) if scale_at == "train" else 1.0
    # The kept elements are binomial: two-sided, 1e-9 each.
    low, high = stats.binom.ppf([5e-10, 1 - 5e-10], n, 1 - rate)
    assert low <= kept <= high
    assert low * top <= float(z.sum()) * (1 + 1e-6) and float(z.sum()) <= high * top * (1 + 1e-6)


@pytest.mark.parametrize("rate", [1e-6, 1e-3, 0.1, 0.5, 0.9, 0.999])
def test_the_drop_rate_is_exact_to_2_to_the_minus_32(rate):
    bits = jaxdrop.random_bits(KEY, (1 << 16,))
    cut = round(rate * 2**32)
    assert abs(cut / 2**32 - rate) <= 2**-33
    for given_rate in (rate, np.float64(rate), np.full((1,), rate)):
        identical(jaxdrop.keep_mask(KEY, (1 << 16,), given_rate), bits >= np.uint32(cut))


def test_the_threshold_at_the_ends_of_a_float32_rate():
    bits = jaxdrop.random_bits(KEY, (1 << 12,))
    for rate in (2.0**-32, 2.0**-24, 1 - 2.0**-24):
        cut = np.uint32(rate * 2**32)
        identical(jaxdrop.keep_mask(KEY, bits.shape, jnp.float32(rate)), bits >= cut)
        identical(jaxdrop.keep_mask(KEY, bits.shape, rate), bits >= cut)


@pytest.mark.parametrize("make", [jax.random.key, jax.random.PRNGKey])
@pytest.mark.parametrize("impl", ["threefry2x32", "rbg", "unsafe_rbg", jaxdrop.fast_prng_impl])
def test_typed_and_legacy_keys_of_every_implementation(make, impl):
    if make is jax.random.PRNGKey and not isinstance(impl, str):
        return  # legacy keys carry no implementation of ours
    key = make(5, impl=impl)
    bits = jaxdrop.random_bits(key, (4096,))
    assert len(set(bits.tolist())) > 4090
    other = jaxdrop.random_bits(make(6, impl=impl), (4096,))
    assert (bits != other).mean() > 0.99
    data = key if key.dtype == jnp.uint32 else jax.random.key_data(key)
    identical(jaxdrop.random_bits(data, (4096,)), bits)


@pytest.mark.slow
def test_x64_changes_neither_bits_nor_masks(x64):
    golden = np.asarray([4209699884, 3958748286, 217790230], np.uint32)
    identical(jaxdrop.random_bits(jax.random.key(0), (64, 128))[0, :3], jnp.asarray(golden))
    x = jnp.linspace(1, 2, 512, dtype=jnp.float64)
    for rate in (0.1, jnp.float32(0.1), jnp.float64(0.1)):
        y = jaxdrop.dropout(KEY, x, rate)
        assert y.dtype == jnp.float64
        identical(y != 0, jaxdrop.keep_mask(KEY, (512,), rate))
    kept = y[y != 0] / x[y != 0]
    np.testing.assert_allclose(kept, 1 / 0.9, rtol=1e-15)
    with jax.enable_x64(False):
        without = np.asarray(jaxdrop.keep_mask(KEY, (512,), 0.1))
    identical(jaxdrop.keep_mask(KEY, (512,), 0.1), jnp.asarray(without))
    # float32 rates hold 0.1 less exactly, and a traced float64 rate holds it as a Python one does
    identical(jaxdrop.keep_mask(KEY, (512,), jnp.float64(0.1)), jnp.asarray(without))


def test_one_eager_call_compiles_for_all_rates_and_keys():
    from jaxdrop._functional.dropout import _compiled_drop

    x = values((17, 3))
    jaxdrop.dropout(KEY, x, 0.11)
    compiled: Any = _compiled_drop  # _cache_size is no public part of jax
    before = compiled._cache_size()
    for i, rate in enumerate((0.12, 0.13, 0.77)):
        jaxdrop.dropout(jax.random.key(i), x, rate)
    assert compiled._cache_size() == before
