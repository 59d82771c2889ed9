"""JAX's settings and people's arguments: dtypes, no jit, keys, rates near 0."""

import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from flax import nnx
from jax.experimental.jet import jet

import jaxdrop
from scripts.members import Case
from tests.functional.over_members import RATE, members, over

ROOT = pathlib.Path(__file__).parents[2]
HALF = (jnp.bfloat16, jnp.float16)


@pytest.mark.slow
@over()
def test_without_jit_nothing_changes(member: Case):
    key, x = jax.random.key(0), member.example()
    with jax.disable_jit():
        eager = member.apply(key, x, RATE)
    compiled = jax.jit(lambda key, x: member.apply(key, x, RATE))(key, x)
    np.testing.assert_allclose(eager, compiled, rtol=1e-6, atol=1e-6)


@pytest.mark.slow
def test_a_gradient_without_jit():
    key, x = jax.random.key(0), jnp.ones(5)
    with jax.disable_jit():
        got = jax.grad(lambda x: jaxdrop.dropout(key, x, 0.5).sum())(x)
    np.testing.assert_array_equal(got, jaxdrop.dropout(key, x, 0.5))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", HALF, ids=str)
@over(unbiased=True, rated=True, integer_input=False)
def test_half_precision_is_float32_rounded(member: Case, dtype: jnp.dtype):
    """It is, to half a unit in the last place of the result, and float32's own rounding."""
    if not member.diagonal:
        pytest.skip("sums of products are rounded by the matrix product")
    key, x = jax.random.key(0), member.example(dtype)
    y = np.asarray(member.apply(key, x, 0.1), np.float64)
    exact = np.asarray(member.apply(key, x.astype(jnp.float32), 0.1), np.float64)
    ulp = np.exp2(np.floor(np.log2(np.maximum(np.abs(exact), 1e-30)))) * float(jnp.finfo(dtype).eps)
    assert (np.abs(y - exact) <= ulp * 0.501 + 1e-7).all()


@pytest.mark.parametrize("dtype", HALF, ids=str)
@pytest.mark.parametrize("rate", [0.1, 0.3, 0.45])
def test_the_mean_in_half_precision(dtype: jnp.dtype, rate: float):
    """Kept elements are x / (1 - rate), off by a rounding that prefers neither direction.

    Over one octave of 2**16 numbers the mean of a rounding, at most half a unit in the last place
    of 1 and near to uniform, has a standard deviation of eps / sqrt(12 * 2**16).
    """
    x = jnp.linspace(1, 2, 2**16, dtype=jnp.float32).astype(dtype)
    y = jaxdrop.dropout(jax.random.key(0), x, rate)
    kept = np.asarray(y, np.float64) != 0
    ratio = np.asarray(y, np.float64)[kept] / np.asarray(x, np.float64)[kept] * (1 - rate)
    bound = 6 * float(jnp.finfo(dtype).eps) / np.sqrt(12 * kept.sum())
    # bfloat16 has 128 numbers in the octave, each with a rounding of its own.
    distinct = len(np.unique(np.asarray(x, np.float64)))
    bound = max(bound, 6 * float(jnp.finfo(dtype).eps) / np.sqrt(12 * distinct))
    assert abs(ratio.mean() - 1) <= bound
    rounded_first = x * jnp.asarray(1 / (1 - rate), dtype)  # what that would find
    broken = (np.asarray(rounded_first, np.float64) / np.asarray(x, np.float64) * (1 - rate)).mean()
    if dtype == jnp.bfloat16 and rate == 0.1:
        assert abs(broken - 1) > bound


@pytest.mark.parametrize("rate", [0.3 - 0.1 * 3, -1e-13, np.float64(-1e-16)])
def test_a_rate_off_by_rounding_is_the_end_it_stands_for(rate: float):
    x = jnp.ones(8)
    np.testing.assert_array_equal(jaxdrop.dropout(jax.random.key(0), x, rate), x)
    assert not jaxdrop.dropout(jax.random.key(0), x, 1 - rate).any()


def test_a_rate_that_is_wrong_is_not():
    with pytest.raises(ValueError, match="got rate=-1e-09"):
        jaxdrop.dropout(jax.random.key(0), jnp.ones(8), -1e-9)


def test_a_variable_of_nnx_is_told_how_to_be_an_array():
    with pytest.raises(TypeError, match=r"pass x\[\.\.\.\]"):
        jaxdrop.drop_connect(jax.random.key(0), nnx.Param(jnp.ones(3)), 0.5)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["float4_e2m1fn", "float8_e8m0fnu"])
def test_dtypes_that_cannot_hold_a_dropped_array(name: str):
    x = jnp.ones(4, jnp.dtype(getattr(ml_dtypes, name)))
    for member in (jaxdrop.dropout, jaxdrop.gaussian_dropout, jaxdrop.concrete_dropout):
        with pytest.raises(TypeError, match=f"dtype {name}.*convert it first"):
            member(jax.random.key(0), x, 0.5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["float8_e4m3fn", "float8_e5m2", "float8_e4m3b11fnuz"])
def test_eight_bits(name: str):
    x = jnp.ones(64, jnp.dtype(getattr(ml_dtypes, name)))
    y = jaxdrop.dropout(jax.random.key(0), x, 0.5)
    mask = jaxdrop.keep_mask(jax.random.key(0), x.shape, 0.5)
    assert y.dtype == x.dtype
    np.testing.assert_array_equal(y.astype(jnp.float32), jnp.where(mask, 2.0, 0.0))


@pytest.mark.slow
@pytest.mark.parametrize("impl", ["philox2x32", "philox4x32", "threefry4x32", "rbg"])
def test_keys_of_any_number_of_words(impl: str):
    try:
        key = jax.random.key(0, impl=impl)
    except ValueError:
        pytest.skip(f"this jax has no {impl}")
    bits = jaxdrop.random_bits(key, (64,))
    assert len(np.unique(np.asarray(bits))) == 64
    other = jaxdrop.random_bits(jax.random.key(1, impl=impl), (64,))
    assert not (bits == other).any()
    np.testing.assert_array_equal(
        jaxdrop.dropout(key, jnp.ones(64), 0.5),
        jnp.where(jaxdrop.keep_mask(key, (64,), 0.5), 2.0, 0.0),
    )


@pytest.mark.slow
def test_the_next_remat_of_jax_meets_no_key_twice():
    """JAX_REMAT3=1, on its way to being the default: a key inside a checkpoint counts as reuse."""
    code = """if True:
        import jax, jax.numpy as jnp, jaxdrop
        jax.config.update("jax_debug_key_reuse", True)
        for draw in (
            lambda key, x: jaxdrop.dropout(key, x, 0.5),
            lambda key, x: jaxdrop.dropout(key, x, 0.5, bits="key"),
            lambda key, x: jaxdrop.alpha_dropout(key, x, 0.5),
            lambda key, x: jaxdrop.gaussian_dropout(key, x, 0.5),
            lambda key, x: jaxdrop.concrete_dropout(key, x, 0.5),
            lambda key, x: jaxdrop.variational_dropout(key, x, -1.0),
            lambda key, x: jaxdrop.zoneout(key, x, 0.5, previous=x),
            lambda key, x: jaxdrop.drop_block(key, x[None, :, None], 0.5, block_size=2),
            lambda key, x: jaxdrop.cutout(key, x[None, :, None], 0.5, size=2),
            lambda key, x: jaxdrop.embedding_dropout(key, x[:, None], 0.5, jnp.arange(3)),
            lambda key, x: jaxdrop.drop_connect_dense(
                key, x[None], 0.5, kernel=jnp.ones((8, 2)), per_example=True
            ),
        ):
            gradient = jax.grad(lambda x, key: draw(key, x).sum())
            jax.jit(gradient)(jnp.ones(8), jax.random.key(0))
            gradient(jnp.ones(8), jax.random.key(0))
    """
    environment = os.environ | {"JAX_REMAT3": "1"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, cwd=ROOT)


MADE_OF_DROPOUT = (
    *("dropout", "spatial_dropout", "locked_dropout", "drop_path", "patch_dropout", "drop_connect"),
    *("weight_drop", "recurrent_dropout"),
)


@pytest.mark.slow
@pytest.mark.parametrize("legacy", [False, True], ids=["typed", "legacy"])
@pytest.mark.parametrize(
    "member", [m for m in members if m.name in MADE_OF_DROPOUT], ids=lambda m: m.name
)
def test_taylor_mode(member: Case, legacy: bool):
    key, x = jax.random.PRNGKey(0) if legacy else jax.random.key(0), member.example()

    def square(x):
        return member.apply(key, x * x, RATE)

    y, (first, second) = jet(square, (x,), ((jnp.ones_like(x), jnp.zeros_like(x)),))
    np.testing.assert_allclose(y, square(x), rtol=1e-6)
    slope = jax.jvp(square, (x,), (jnp.ones_like(x),))[1]
    np.testing.assert_allclose(first, slope, rtol=1e-5, atol=1e-6)
    curve = member.apply(key, 2 * jnp.ones_like(x), RATE)
    np.testing.assert_allclose(second, curve, rtol=1e-5, atol=1e-5)
