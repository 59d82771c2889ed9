"""keep_where's form for CPUs gives the bits of the plain one, for every bfloat16 number."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdrop
from jaxdrop._core.keep_where import _select, keep_where, small_number

EVERY = jax.lax.bitcast_convert_type(jnp.arange(2**16, dtype=jnp.uint16), jnp.bfloat16)
FACTORS = (1.0, 1.109375, 1 / 3, 2.0, 1e-30, 3e38, 0.0, np.inf, np.nan)


def plain(mask, x, factor):
    return jnp.where(mask, x * factor, jnp.zeros((), x.dtype))


def identical(a, b):
    """Equal bits, except that one NaN is as good as another."""
    nan = np.isnan(np.asarray(a))
    np.testing.assert_array_equal(nan, np.isnan(np.asarray(b)))
    a, b = (np.asarray(jax.lax.bitcast_convert_type(y, jnp.uint16))[~nan] for y in (a, b))
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("factor", FACTORS)
def test_every_bfloat16_is_rounded_as_xla_rounds_it(factor):
    factor = jnp.asarray(factor, jnp.bfloat16)
    mask = jnp.arange(2**16) % 3 > 0
    identical(keep_where(mask, EVERY, factor), plain(mask, EVERY, factor))
    everything = jnp.ones_like(mask)
    identical(keep_where(everything, EVERY, factor), plain(everything, EVERY, factor))


def test_rounding_without_ties_to_even_would_be_seen():
    factor = jnp.asarray(1.5, jnp.bfloat16)
    exact = EVERY.astype(jnp.float32) * factor.astype(jnp.float32)
    bits = jax.lax.bitcast_convert_type(exact, jnp.uint32)
    away = (bits + np.uint32(0x8000)) >> np.uint32(16)
    away = jax.lax.bitcast_convert_type(away.astype(jnp.uint16), jnp.bfloat16)
    with pytest.raises(AssertionError):
        identical(away, EVERY * factor)


@pytest.mark.slow
@pytest.mark.parametrize("word", [0, 2**17, 2**31, 2**32 - 1])
@pytest.mark.parametrize(
    "dtype", [jnp.bfloat16, jnp.float16, jnp.float8_e4m3fn, jnp.float8_e5m2, jnp.float8_e4m3b11fnuz]
)
def test_the_small_number_is_zero_in_every_half_precision(dtype, word):
    x = EVERY.astype(dtype)
    mask, factor = jnp.arange(2**16) % 3 > 0, jnp.float32(1 / 0.9)
    got = _select(mask, x, factor, small_number(jnp.array([0, word], jnp.uint32)))
    expected = jnp.where(mask, (x.astype(jnp.float32) * factor).astype(dtype), jnp.zeros((), dtype))
    bits = jnp.uint16 if got.dtype.itemsize == 2 else jnp.uint8
    same = [np.asarray(jax.lax.bitcast_convert_type(y, bits)) for y in (got, expected)]
    nan = np.asarray(jnp.isnan(expected))
    np.testing.assert_array_equal(*(y[~nan] for y in same))
    np.testing.assert_array_equal(np.asarray(jnp.isnan(got)), nan)


@pytest.mark.slow
def test_a_number_that_is_not_small_enough_would_be_seen():
    small = jax.lax.bitcast_convert_type(jnp.uint32(2**16 - 1), jnp.float32)
    got = _select(jnp.zeros(1, bool), jnp.ones(1, jnp.bfloat16), jnp.float32(1), small)
    assert jax.lax.bitcast_convert_type(got, jnp.uint16)[0] != 0


BATCHED = ((0, 0, 0), (None, 0, None), (None, None, 0), (0, None, 0), (0, 0, None))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])
def test_vmap_over_any_operand_is_the_loop(dtype):
    rng = np.random.default_rng(0)
    mask = rng.random((5, 3, 4)) < 0.5
    x = rng.standard_normal((5, 3, 4)).astype(dtype)
    shapes = ((), (1, 4), (3, 1), (3, 4))
    factors = [rng.standard_normal((5, *shape)).astype(dtype) for shape in shapes]

    def operands(factor, batched):
        return [a if d == 0 else a[0] for a, d in zip((mask, x, factor), batched, strict=True)]

    @jax.jit
    def mapped(arguments):
        return [jax.vmap(keep_where, d)(*a) for d, a in zip(every, arguments, strict=True)]

    pairs = list(itertools.product(factors, BATCHED))
    every = [batched for _, batched in pairs]
    got = mapped([operands(*pair) for pair in pairs])
    for y, (factor, batched) in zip(got, pairs, strict=True):
        for i in range(5):
            one = [
                a[i] if d == 0 else a
                for a, d in zip(operands(factor, batched), batched, strict=True)
            ]
            np.testing.assert_array_equal(y[i], keep_where(*one), f"{factor.shape}, {batched}")


SCALAR: Any = np.float32(3)  # no np.ndarray, and taken as an array all the same
TOKEN: Any = np.int32(7)


@pytest.mark.slow
@pytest.mark.parametrize(
    "draw",
    [
        lambda key: jaxdrop.dropout(key, SCALAR, 0.5),
        lambda key: jaxdrop.zoneout(key, SCALAR, 0.5, previous=2 * SCALAR),
        lambda key: jaxdrop.word_dropout(key, TOKEN, 0.5, unknown=0),
    ],
)
def test_keys_may_be_mapped_over_for_one_number(draw):
    keys = jax.random.split(jax.random.key(0), 8)
    got = jax.vmap(draw)(keys)
    np.testing.assert_array_equal(got, jnp.stack([draw(key) for key in keys]))
    assert len(set(got.tolist())) == 2


@pytest.mark.slow
def test_rates_may_be_mapped_over_for_one_number():
    key, rates = jax.random.key(0), jnp.array([0.0, 0.3, 0.6, 1.0])
    loop = [jaxdrop.dropout(key, SCALAR, rate) for rate in rates]
    got = jax.vmap(lambda rate: jaxdrop.dropout(key, SCALAR, rate))(rates)
    np.testing.assert_allclose(got, jnp.stack(loop), rtol=1e-6)


@pytest.mark.slow
def test_no_gradient_flows_to_the_factor():
    mask, x = jnp.array([True, False]), jnp.array([2.0, 3.0])
    grads = jax.grad(lambda x, f: keep_where(mask, x, f).sum(), (0, 1))(x, jnp.float32(5))
    np.testing.assert_array_equal(grads[0], [5.0, 0.0])
    assert grads[1] == 0
