"""alpha_dropout: mean and variance under SELU."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdrop

N = 200_000


def moments_are_kept(y: np.ndarray, kurtosis: float) -> bool:
    """Mean 0 and variance 1, each within 6 of its standard errors (false alarm 4e-9)."""
    mean_error, variance_error = (1 / y.size) ** 0.5, ((kurtosis - 1) / y.size) ** 0.5
    return abs(y.mean()) < 6 * mean_error and abs(y.var() - 1) < 6 * variance_error


@pytest.mark.parametrize("rate", [0.05, 0.3, 0.8])
def test_mean_zero_and_variance_one_are_kept(rate: float) -> None:
    # x is +1 or -1, as many of each: mean 0 and variance 1 exactly.
    x = jnp.tile(jnp.array([-1.0, 1.0]), N // 2)
    y = np.asarray(jaxdrop.alpha_dropout(jax.random.key(0), x, rate)).astype(np.float64)
    s, q = -1.7580993408473766, 1 - rate
    a = (q * (1 + rate * s**2)) ** -0.5
    b = -a * rate * s
    values = np.array([a + b, -a + b, a * s + b])
    weights = np.array([q / 2, q / 2, rate])
    np.testing.assert_allclose([values @ weights, values**2 @ weights], [0, 1], atol=1e-12)
    kurtosis = values**4 @ weights
    assert moments_are_kept(y, kurtosis)
    plain = np.asarray(jaxdrop.dropout(jax.random.key(0), x, rate)).astype(np.float64)
    assert not moments_are_kept(plain, kurtosis)  # its variance is 1 / q


def test_selu_networks_stay_normalised() -> None:
    """Ten wide SELU layers with alpha dropout keep mean and variance near 0 and 1."""
    width, keys = 1024, jax.random.split(jax.random.key(0), 21)
    h = jaxdrop.gaussian_noise(keys[20], jnp.zeros((64, width)), 1.0)
    for n in range(10):
        w = jaxdrop.gaussian_noise(keys[n], jnp.zeros((width, width)), width**-0.5)
        h = jaxdrop.alpha_dropout(keys[10 + n], jax.nn.selu(h @ w), 0.1)
    # Klambauer et al., Theorem 1: mean and variance stay in [-0.1, 0.1] x [0.8, 1.5].
    assert abs(h.mean()) < 0.1 and 0.8 < h.var() < 1.5


def test_dropped_elements_tend_to_zero_at_rate_one() -> None:
    key, x = jax.random.key(0), jnp.ones(16)
    near = jaxdrop.alpha_dropout(key, x, 1 - 1e-6)
    assert abs(near).max() < 1e-2
    np.testing.assert_array_equal(jaxdrop.alpha_dropout(key, x, 1.0), jnp.zeros(16))


def test_a_rate_per_channel_and_a_shared_dimension() -> None:
    y = jaxdrop.alpha_dropout(
        jax.random.key(0), jnp.ones((6, 3)), np.array([0.0, 0.5, 1.0]), broadcast_dims=(0,)
    )
    assert (y == y[:1]).all()
    np.testing.assert_array_equal(y[:, 0], jnp.ones(6))
    np.testing.assert_array_equal(y[:, 2], jnp.zeros(6))


def test_bad_arguments() -> None:
    key = jax.random.key(0)
    with pytest.raises(TypeError, match="^got x='abc' of type str; feature_alpha_dropout takes"):
        jaxdrop.feature_alpha_dropout(key, "abc", 0.5)  # type: ignore[arg-type]
    with pytest.raises(
        TypeError, match=r"^got broadcast_dims=1 of type int, expected a sequence .* \(1,\)"
    ):
        jaxdrop.alpha_dropout(key, jnp.ones((2, 3)), 0.5, broadcast_dims=1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="^got broadcast_dims='a' of type str, expected a sequence"):
        jaxdrop.dropout(key, jnp.ones((2, 3)), 0.5, broadcast_dims="a")  # type: ignore[arg-type]
    with pytest.raises(
        ValueError, match=r"^got a rate of shape \(2, 1\), which does not.*\(1, 3\)"
    ):
        jaxdrop.alpha_dropout(key, jnp.ones((2, 3)), np.ones((2, 1)), broadcast_dims=(0,))
