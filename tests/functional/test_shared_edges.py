"""What the members of the family share at the edges: rates 0 and 1, dtypes, nothing, wrong use."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdrop
from scripts.members import Case, Normal
from tests.functional.over_members import RATE, close, key, over, run


@over()
def test_rate_zero_and_test_mode_need_no_key(member: Case) -> None:
    x = member.example()
    if member.rated:
        np.testing.assert_array_equal(member.apply(None, x, 0.0), member.test_time(x))
    close(member.apply(None, x, RATE, deterministic=True), member.in_test_mode(x, RATE))


@over()
def test_rate_one(member: Case) -> None:
    if member.rate_one is None:
        pytest.skip("the member's own tests say what its rate of 1 does")
    x = member.example()
    np.testing.assert_array_equal(member.apply(key(), x, 1.0), member.rate_one(x))
    if not member.integer_input:
        grad = jax.grad(lambda x: member.apply(key(), x, 1.0).sum())(x)
        np.testing.assert_array_equal(grad, member.rate_one(jnp.ones_like(x)))


@pytest.mark.slow
@over(integer_input=False)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "complex64"])
def test_dtype_is_kept(member: Case, dtype: str) -> None:
    x = jnp.asarray(member.example()).astype(dtype)
    if dtype.startswith("complex") and not member.complex_input:
        with pytest.raises(TypeError, match=f"got x of dtype complex64; {member.name}"):
            member.apply(key(), x, RATE)
        return
    for rate in (0.0, RATE, 1.0):
        y = jax.eval_shape(lambda k, x: member.apply(k, x, rate), key(), x)  # noqa: B023
        assert y.dtype == x.dtype
    if member.traced_rate:
        assert jax.eval_shape(member.apply, key(), x, jnp.float32(RATE)).dtype == x.dtype


@pytest.mark.slow
@over(integer_input=False)
def test_half_precision_computes_what_float32_does_within_its_precision(member: Case) -> None:
    dtypes = (jnp.float16, jnp.bfloat16)
    x = [member.example(dtype) for dtype in dtypes]
    half = jax.jit(lambda k, x: [member.apply(k, x, RATE) for x in x])(key(), x)
    for xh, y in zip(x, half, strict=True):
        want = np.asarray(run(member, key(), xh.astype(jnp.float32)))
        assert y.dtype == xh.dtype
        # Two roundings, of half an epsilon each, of numbers no larger than the largest result.
        error = abs(np.asarray(y).astype(np.float32) - want)
        assert error.max() <= float(jnp.finfo(y.dtype).eps) * abs(want).max()


@pytest.mark.slow
@over(integer_input=False)
def test_doubles_stay_doubles(member: Case, x64: None) -> None:
    x = member.example(np.float64)
    y = run(member, key(), x)
    assert y.dtype == np.float64
    z = run(member, key(), member.example())
    # The mask knows no dtype; float32 noise is within 2e-3 of the exact quantile (below 3).
    noise = 2e-3 * member.law.std(np.asarray(x), RATE) if isinstance(member.law, Normal) else 0
    a, b = np.asarray(y), np.asarray(z)
    assert (abs(a - b) <= 1e-6 + 1e-5 * abs(b) + noise).all()


@over(integers=True)
@pytest.mark.parametrize("dtype", ["uint8", "int32"])
def test_integers_are_taken_as_they_are(member: Case, dtype: str) -> None:
    x = np.arange(1, 1 + np.prod(member.shape)).reshape(member.shape).astype(dtype)
    y = run(member, key(), jnp.asarray(x))
    assert y.dtype == dtype
    np.testing.assert_array_equal(y, run(member, key(), jnp.asarray(x, jnp.float32)))
    np.testing.assert_array_equal(member.apply(None, x, 0.0), member.test_time(x))
    if member.traced_mode:
        f = jax.jit(lambda mode: member.apply(key(), x, RATE, deterministic=mode))
        np.testing.assert_array_equal(f(jnp.bool_(False)), y)


def sentence(member: Case, error: type, match: str, *args: Any, **options: Any) -> None:
    with pytest.raises(error, match=match):
        member.apply(*args, **options)


@over(probability=True, rated=True, traced_rate=True)
def test_a_rate_of_a_wrong_shape_is_told_in_a_sentence(member: Case) -> None:
    x = member.example()
    for rate in (np.full(7, RATE), jnp.full((1, *x.shape), RATE)):
        sentence(
            member, ValueError, r"rate of shape \((7,|1, ).*(against|takes|makes)", key(), x, rate
        )


@pytest.mark.slow
@over()
def test_an_empty_batch(member: Case) -> None:
    x = member.example()[:0]
    assert member.apply(key(), x, RATE).size == 0


@over()
def test_wrong_use_is_told_in_a_sentence(member: Case) -> None:
    x, name = member.example(), member.name
    sentence(member, ValueError, f"^{name} needs a random key and got None", None, x, RATE)
    sentence(member, TypeError, "^got 3 where a random key belongs", 3, x, RATE)
    keys = jax.random.split(key(), 2)
    sentence(member, ValueError, "^got a batch of keys of shape \\(2,\\)", keys, x, RATE)
    if member.rated:
        for bad in (-0.25, float("nan"), 1.5 if member.probability else float("inf")):
            sentence(member, ValueError, f"^got (rate|stddev)={bad!r}", key(), x, bad)
        sentence(member, TypeError, "^got (rate|stddev)='0.5'", key(), x, "0.5")
    sentence(member, TypeError, "^got deterministic=1", key(), x, RATE, deterministic=1)
    if member.integer_input:
        sentence(
            member, TypeError, f"of dtype float32; {name} takes", key(), x.astype(jnp.float32), RATE
        )
    elif member.integers:
        flags = jnp.ones(member.shape, bool)
        sentence(member, TypeError, f"^got x of dtype bool; {name} takes", key(), flags, RATE)
    else:
        x = jnp.ones(member.shape, jnp.int32)
        said = f"^got (x|table|params|carry) of dtype int32; {name} takes"
        sentence(member, TypeError, said, key(), x, RATE)


@pytest.mark.parametrize("name", ["dropout", "alpha_dropout", "gaussian_noise", "drop_path"])
def test_a_key_in_the_place_of_x_is_told_so(name: str) -> None:
    with pytest.raises(TypeError, match=f"^got a random key as x; {name} .* the key first, then x"):
        getattr(jaxdrop, name)(jnp.ones((2, 3)), key(), RATE)
