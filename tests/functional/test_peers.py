"""The family against PyTorch and Keras: the same values, the same sharing, the same moments.

Their masks come from their own generators, so what is compared is the set of values that an input
can become, and which elements share a decision.
"""

import os
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdrop

RATES = (0.1, 0.5, 0.8)


@pytest.fixture(scope="module")
def torch() -> Any:
    """PyTorch; without it these tests are skipped and say so: pip install jaxdrop[peers]."""
    module = pytest.importorskip("torch", reason="torch (extra `peers`) is not installed")
    module.manual_seed(0)
    return module


@pytest.fixture(scope="module")
def keras() -> Any:
    """Keras 3 on JAX."""
    os.environ["KERAS_BACKEND"] = "jax"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the import alone: not ours to mend
        module = pytest.importorskip("keras", reason="keras (extra `dev`) is not installed")
    module.utils.set_random_seed(0)
    return module


def values(y: Any) -> np.ndarray:
    """The distinct values, rounding apart."""
    return np.unique(np.round(np.asarray(y, np.float64), 5))


def groups(y: np.ndarray, x: np.ndarray, channel_axis: int) -> bool:
    """All elements of a map (n, c) share one decision, and not all maps the same."""
    spatial = tuple(d for d in range(1, y.ndim) if d != channel_axis % y.ndim)
    ratio = y / x
    first = ratio.min(axis=spatial, keepdims=True)
    return bool(np.allclose(ratio, first)) and len(values(first)) == 2


@pytest.mark.parametrize("rate", RATES)
def test_torch_alpha_dropout_has_the_same_constants(torch: Any, rate: float) -> None:
    for value in (-1.5, 0.0, 0.7):
        want = torch.nn.functional.alpha_dropout(torch.full((4000,), value), rate, training=True)
        got = jaxdrop.alpha_dropout(jax.random.key(0), jnp.full(4000, value), rate)
        np.testing.assert_allclose(values(got), values(want.numpy()), atol=2e-5)


@pytest.mark.parametrize("rate", RATES)
def test_torch_feature_alpha_dropout_shares_and_scales_alike(torch: Any, rate: float) -> None:
    x = np.ones((16, 32, 3, 4), np.float32)
    want = torch.nn.FeatureAlphaDropout(rate)(torch.from_numpy(x)).numpy()
    got = jaxdrop.feature_alpha_dropout(jax.random.key(0), x, rate, channel_axis=1)
    np.testing.assert_allclose(values(got), values(want), atol=2e-5)
    assert groups(want, x, 1) and groups(np.asarray(got), x, 1)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_torch_dropout_of_maps_shares_and_scales_alike(torch: Any, dims: int) -> None:
    x = np.random.default_rng(0).uniform(1, 2, (8, 32, *(3, 4, 2)[:dims])).astype(np.float32)
    layer = getattr(torch.nn, f"Dropout{dims}d")(0.3)
    want = layer(torch.from_numpy(x)).numpy()
    got = np.asarray(jaxdrop.spatial_dropout(jax.random.key(0), x, 0.3, channel_axis=1))
    np.testing.assert_allclose(values(got / x), values(want / x), atol=2e-5)
    assert groups(want, x, 1) and groups(got, x, 1)
    plain = np.asarray(jaxdrop.dropout(jax.random.key(0), x, 0.3))
    assert not groups(plain, x, 1)


@pytest.mark.parametrize("name", ["alpha_dropout", "dropout", "feature_alpha_dropout"])
def test_torch_at_rate_one_is_zero_too(torch: Any, name: str) -> None:
    want = getattr(torch.nn.functional, name)(torch.ones(2, 3, 4), 1.0, training=True)
    np.testing.assert_array_equal(
        getattr(jaxdrop, name)(jax.random.key(0), jnp.ones((2, 3, 4)), 1.0), want.numpy()
    )


@pytest.mark.slow
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_keras_spatial_dropout_shares_and_scales_alike(keras: Any, dims: int) -> None:
    x = np.random.default_rng(0).uniform(1, 2, (8, *(3, 4, 2)[:dims], 32)).astype(np.float32)
    layer = getattr(keras.layers, f"SpatialDropout{dims}D")(0.3, seed=1)
    want = np.asarray(layer(x, training=True))
    got = np.asarray(jaxdrop.spatial_dropout(jax.random.key(0), x, 0.3))
    np.testing.assert_allclose(values(got / x), values(want / x), atol=2e-5)
    assert groups(want, x, -1) and groups(got, x, -1)


@pytest.mark.slow
@pytest.mark.parametrize("rate", RATES)
def test_keras_alpha_dropout_has_the_same_constants(keras: Any, rate: float) -> None:
    x = np.full((4000,), 0.7, np.float32)
    want = keras.layers.AlphaDropout(rate, seed=1)(x, training=True)
    got = jaxdrop.alpha_dropout(jax.random.key(0), x, rate)
    np.testing.assert_allclose(values(got), values(want), atol=2e-5)


@pytest.mark.slow
@pytest.mark.parametrize("rate", RATES)
def test_keras_gaussian_dropout_has_the_same_moments(keras: Any, rate: float) -> None:
    """Both means within 6 standard errors of 1, both variances of rate / (1 - rate)."""
    x, variance = np.ones(100_000, np.float32), rate / (1 - rate)
    want = np.asarray(keras.layers.GaussianDropout(rate, seed=1)(x, training=True), np.float64)
    got = np.asarray(jaxdrop.gaussian_dropout(jax.random.key(0), x, rate), np.float64)
    for y in (want, got):
        assert abs(y.mean() - 1) < 6 * (variance / x.size) ** 0.5
        assert abs(y.var() / variance - 1) < 6 * (2 / x.size) ** 0.5


def test_keras_gaussian_noise_has_the_same_moments(keras: Any) -> None:
    x = np.ones(100_000, np.float32)
    want = np.asarray(keras.layers.GaussianNoise(0.4, seed=1)(x, training=True), np.float64)
    got = np.asarray(jaxdrop.gaussian_noise(jax.random.key(0), x, 0.4), np.float64)
    for y in (want, got):
        assert abs(y.mean() - 1) < 6 * 0.4 / x.size**0.5
        assert abs(y.var() / 0.16 - 1) < 6 * (2 / x.size) ** 0.5


def test_timms_formulas() -> None:
    """timm/layers/drop.py, drop_path: x * bernoulli(keep) of shape (N, 1, ...) / keep."""
    x = np.random.default_rng(0).uniform(1, 2, (64, 3, 4)).astype(np.float32)
    y = np.asarray(jaxdrop.drop_path(jax.random.key(0), x, 0.25))
    mask = (y[:, :1, :1] != 0).astype(np.float32)
    np.testing.assert_allclose(y, x * (mask / np.float32(0.75)), rtol=1e-6)
    assert set(mask.ravel()) == {0, 1}


@pytest.mark.slow
def test_timms_drop_block_drops_less_than_asked_and_ours_does_not() -> None:
    """The deviation that drop_block's docstring states, computed from timm's gamma."""
    rate, block, n = 0.25, 5, 12
    gamma = rate * n**2 / block**2 / (n - block + 1) ** 2
    covering = [min(i, n - block) - max(0, i - block + 1) + 1 for i in range(n)]
    dropped = 1 - (1 - gamma) ** np.outer(covering, covering)
    assert dropped.mean() < 0.22 and dropped[0, 0] < 0.025 and dropped[6, 6] > rate
    x = np.ones((40_000, n, n, 1), np.float32)
    y = jaxdrop.drop_block(jax.random.key(0), x, rate, block_size=block)
    share = np.asarray(y == 0).mean((0, 3))
    # Binomial over independent examples: 6 standard errors at 144 positions, false alarm 3e-7.
    assert abs(share - rate).max() < 6 * (rate * (1 - rate) / len(x)) ** 0.5
