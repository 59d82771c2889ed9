"""gaussian_dropout and gaussian_noise: what is theirs alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdrop

N = 100_000


def test_both_use_the_same_noise_scaled() -> None:
    key = jax.random.key(0)
    z = jaxdrop.gaussian_noise(key, jnp.zeros(N), 1.0)
    for rate in (0.1, 0.5, 0.9):
        y = jaxdrop.gaussian_dropout(key, jnp.ones(N), rate)
        np.testing.assert_allclose(y, 1 + (rate / (1 - rate)) ** 0.5 * z, rtol=1e-5, atol=1e-5)


def test_stddev_may_exceed_one_and_be_an_array() -> None:
    key = jax.random.key(0)
    z = jaxdrop.gaussian_noise(key, jnp.zeros((4, 3)), 1.0)
    y = jaxdrop.gaussian_noise(key, jnp.zeros((4, 3)), np.array([0.0, 1.0, 8.0]))
    np.testing.assert_array_equal(y, z * jnp.array([[0.0, 1.0, 8.0]]))


def test_a_rate_per_channel_reaches_one() -> None:
    y = jaxdrop.gaussian_dropout(jax.random.key(0), jnp.ones((5, 3)), np.array([0.0, 0.5, 1.0]))
    np.testing.assert_array_equal(y[:, 0], jnp.ones(5))
    np.testing.assert_array_equal(y[:, 2], jnp.zeros(5))
    assert (y[:, 1] != 1).all()


def test_half_precision_rounds_only_at_the_end() -> None:
    x = jnp.full(64, 3.0)
    y = jaxdrop.gaussian_dropout(jax.random.key(0), x, 0.3)
    half = jaxdrop.gaussian_dropout(jax.random.key(0), x.astype(jnp.bfloat16), 0.3)
    # One rounding of the factor and one of the product.
    np.testing.assert_allclose(half.astype(jnp.float32), y, rtol=2 * 2.0**-8)


def test_bad_stddev() -> None:
    for bad in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=f"^got stddev={bad!r}; expected a finite stddev >= 0"):
            jaxdrop.gaussian_noise(jax.random.key(0), jnp.ones(2), bad)
    with pytest.raises(ValueError, match=r"^got stddev of shape \(3,\), which does not broadcast"):
        jaxdrop.gaussian_noise(jax.random.key(0), jnp.ones((3, 4)), np.ones(3))
