"""Wrong use raises a sentence: what was given, what is expected, what to do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdrop

KEY = jax.random.key(0)
X = jnp.ones((2, 3))


@pytest.mark.parametrize(
    ("rate", "error", "said"),
    [
        (-0.5, ValueError, r"got rate=-0\.5; expected 0 <= rate <= 1"),
        (1.5, ValueError, r"got rate=1\.5; expected"),
        (float("nan"), ValueError, r"got rate=nan; expected"),
        (jnp.float32(1.5), ValueError, r"got rate=1\.5; expected"),
        (np.array([0.1, -2.0, 0.3]), ValueError, r"got rate=-2\.0; expected"),
        ("0.5", TypeError, r"got rate='0\.5' of type str"),
        (True, TypeError, r"got rate=True of type bool"),
        (None, TypeError, r"got rate=None of type NoneType"),
        (1j, TypeError, r"got rate=1j"),
        (jnp.array(True), TypeError, r"rate of dtype bool"),
        (np.zeros((5,)), ValueError, r"rate of shape \(5,\), which does not broadcast"),
    ],
)
@pytest.mark.parametrize("deterministic", [False, True])
def test_rate(rate, error, said, deterministic):
    with pytest.raises(error, match=said):
        jaxdrop.dropout(KEY, X, rate, deterministic=deterministic)
    with pytest.raises(error, match=said):
        jaxdrop.keep_mask(KEY, X.shape, rate)


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (jnp.ones(3, jnp.int32), "x of dtype int32.*convert it first"),
        (np.ones(3, np.uint8), "x of dtype uint8"),
        (jnp.ones(3, bool), "x of dtype bool"),
        ("hello", "got x='hello' of type str"),
        ([1.0, 2.0], r"got x=\[1.0, 2.0\] of type list"),
        (None, "got x=None"),
    ],
)
def test_x(x, said):
    with pytest.raises(TypeError, match=said):
        jaxdrop.dropout(KEY, x, 0.5)


@pytest.mark.parametrize(
    ("key", "error", "said"),
    [
        (None, ValueError, r"needs a random key and got None; pass .* jax\.random\.key\(seed\)"),
        (0, TypeError, r"got 0 where a random key belongs; .* here jax\.random\.key\(0\)"),
        (np.int64(7), TypeError, r"where a random key belongs"),
        ("0", TypeError, r"got '0' where a random key belongs"),
        (jnp.ones(2), TypeError, r"dtype float32 and shape \(2,\) where a random key belongs"),
        (jnp.uint32(3), TypeError, r"dtype uint32 and shape \(\)"),
        (jax.random.split(KEY, 8), ValueError, r"batch of keys of shape \(8,\).*jax\.vmap"),
        (np.zeros((8, 2), np.uint32), ValueError, r"batch of keys of shape \(8,\)"),
        ([1, 2], TypeError, r"got list where a random key belongs"),
    ],
)
def test_key(key, error, said):
    for call in (
        lambda: jaxdrop.dropout(key, X, 0.5),
        lambda: jaxdrop.keep_mask(key, (2, 3), 0.5),
        lambda: jaxdrop.random_bits(key, (2, 3)),
    ):
        with pytest.raises(error, match=said):
            call()


def test_no_key_is_needed_when_nothing_is_drawn():
    assert jaxdrop.dropout(None, X, 0.5, deterministic=True) is X
    assert jaxdrop.dropout(None, X, 0.0) is X


@pytest.mark.parametrize("dims", [(2,), (-3,), (0, 5)])
def test_broadcast_dims(dims):
    said = f"got {dims[-1]} in broadcast_dims=.* for an array of 2 dimensions, expected -2 <= d < 2"
    with pytest.raises(ValueError, match=said):
        jaxdrop.dropout(KEY, X, 0.5, broadcast_dims=dims)


def test_a_rate_that_varies_along_a_shared_dimension():
    with pytest.raises(ValueError, match=r"rate of shape \(3,\), .* mask of shape \(2, 1\)"):
        jaxdrop.dropout(KEY, X, np.zeros(3), broadcast_dims=(1,))


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"scale_at": "eval"}, ValueError, "got scale_at='eval', expected 'train' or 'test'"),
        ({"bits": "slow"}, ValueError, "got bits='slow', expected 'fast' or 'key'"),
        ({"deterministic": "no"}, TypeError, "got deterministic='no' of type str"),
        ({"deterministic": None}, TypeError, "got deterministic=None"),
        ({"bits": "key", "index_offset": (3,)}, ValueError, "leave index_offset"),
        ({"index_offset": 3}, TypeError, "got index_offset=3 of type int, expected a tuple"),
        ({"index_offset": (-1,)}, ValueError, r"index_offset\[0\] = -1, expected 0 <= offset"),
        ({"index_offset": (0, 1)}, ValueError, "without global_shape"),
        ({"index_offset": (0, 0, 0)}, ValueError, "3 entries in index_offset"),
        ({"index_offset": (1.5,)}, TypeError, r"index_offset\[0\]=1\.5 of type float, expected"),
        ({"global_shape": (2, 2)}, ValueError, r"block of shape \(2, 3\) does not fit"),
        ({"global_shape": (6,)}, ValueError, r"block of shape \(2, 3\) does not fit"),
        (
            {"global_shape": (4, 3), "index_offset": (3,)},
            ValueError,
            r"index_offset\[0\] = 3, expected 0 <= offset <= 2",
        ),
    ],
)
def test_options(options, error, said):
    with pytest.raises(error, match=said):
        jaxdrop.dropout(KEY, X, 0.5, **options)
