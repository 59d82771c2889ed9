"""Concrete dropout: its formula, its law, and the gradient that reaches the rate."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, special

import jaxdrop
from jaxdrop._functional import concrete_dropout
from jaxdrop.testing import assert_mask_rate

KEY = jax.random.key(2017)
ONES = jnp.ones((300, 200))


def formula(p, temperature=0.1, shape=(300, 200)):
    """z in float64, from the bits that the function draws."""
    u = ((np.asarray(jaxdrop.random_bits(KEY, shape)) >> 9) + 0.5) / 2**23
    return special.expit((special.logit(p) + special.logit(u)) / temperature)


@pytest.mark.parametrize("p", [0.02, 0.3, 0.9])
def test_the_output_follows_the_formula(p):
    y = jaxdrop.concrete_dropout(KEY, ONES, p)
    # An error of 1e-6 in the logits is divided by the temperature.
    np.testing.assert_allclose(y, (1 - formula(p)) / (1 - p), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_the_gradient_of_the_rate_is_that_of_the_formula():
    x = jnp.linspace(-1, 2, ONES.size).reshape(ONES.shape)
    for p in (0.1, 0.5):
        ours = jax.grad(lambda p: (x * jaxdrop.concrete_dropout(KEY, x, p)).mean())(jnp.array(p))
        slope = (1 - formula(p)) / (1 - p) ** 2 - _slope(p) / (1 - p)
        expected = (np.asarray(x, np.float64) ** 2 * slope).mean()
        np.testing.assert_allclose(ours, expected, rtol=1e-3)


@pytest.mark.slow
def test_second_derivatives_of_the_rate_are_those_of_the_formula():
    ours = jax.hessian(lambda p: jaxdrop.concrete_dropout(KEY, ONES, p).mean())(jnp.array(0.3))
    # In float64, by differences of the first derivative of the formula.
    slopes = [
        ((1 - formula(p)) / (1 - p) ** 2 - _slope(p) / (1 - p)).mean() for p in (0.299, 0.301)
    ]
    np.testing.assert_allclose(ours, (slopes[1] - slopes[0]) / 0.002, rtol=1e-2)


def _slope(p):
    z = formula(p)
    return z * (1 - z) / 0.1 / (p * (1 - p))


@pytest.mark.slow
@pytest.mark.parametrize("temperature", [0.5, 0.3, 0.05, 1.0, 3.0])
def test_any_temperature_follows_the_formula(temperature):
    """Those with an integer inverse, and those without."""
    y = jaxdrop.concrete_dropout(KEY, ONES, 0.3, temperature=temperature)
    expected = (1 - formula(0.3, temperature)) / 0.7
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)
    ours = jax.grad(
        lambda p: jaxdrop.concrete_dropout(KEY, ONES, p, temperature=temperature).mean()
    )(jnp.array(0.3))
    z = formula(0.3, temperature)
    slope = (1 - z) / 0.49 - z * (1 - z) / temperature / 0.21 / 0.7
    np.testing.assert_allclose(ours, slope.mean(), atol=1e-5)


def test_the_moments_are_the_stated_ones():
    p, temperature = 0.3, 0.1

    def moment(power):
        return integrate.quad(
            lambda u: special.expit((special.logit(p) + special.logit(u)) / temperature) ** power,
            0, 1, points=[1 - p], limit=200,
        )[0]  # fmt: skip

    mean, variance = moment(1), moment(2) - moment(1) ** 2
    # The next order: E[z] has temperature**4, the variance temperature**2.
    bias = (np.pi * temperature) ** 2 / 6 * p * (1 - p) * (1 - 2 * p)
    assert abs(mean - p - bias) < temperature**4
    assert abs(variance - p * (1 - p) * (1 - temperature)) < temperature**2
    assert abs(variance - p * (1 - p)) > temperature**2  # that of a mask of 0 and 1
    z = 1 - np.asarray(jaxdrop.concrete_dropout(KEY, ONES, p), np.float64) * (1 - p)
    n, fourth = z.size, moment(4) - 4 * mean * moment(3) + 6 * mean**2 * moment(2) - 3 * mean**4
    # Normal by the central limit theorem; 6 standard errors, false alarm 2e-9.
    assert abs(z.mean() - mean) < 6 * (variance / n) ** 0.5
    assert abs(z.var() - variance) < 6 * ((fourth - variance**2) / n) ** 0.5


def test_the_gradient_of_x_is_the_mask_of_the_forward_pass():
    @jax.jit  # in one program, since the last digit of the noise may differ between two
    def both(x):
        g = jax.grad(lambda x: jaxdrop.concrete_dropout(KEY, x, 0.3).sum())(3 * x)
        return g, jaxdrop.concrete_dropout(KEY, x, 0.3)

    np.testing.assert_array_equal(*both(ONES))


def kept(p, x=ONES):
    return jaxdrop.concrete_dropout(KEY, x, p) * (1 - p) > 0.5


@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
def test_more_than_half_is_dropped_at_the_rate(p):
    assert_mask_rate(kept(p), p)


def test_wrong_noise_is_caught(monkeypatch):
    odds = concrete_dropout._odds
    monkeypatch.setattr(concrete_dropout, "_odds", lambda bits: odds(bits) ** 0.9)
    with pytest.raises(AssertionError, match="expected"):
        assert_mask_rate(kept(0.1, ONES[1:]), 0.1)  # of a shape that is compiled here alone


@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
def test_the_mean_is_that_of_the_law(p):
    def density(v):  # of z's logit times the temperature, less logit(p): logistic
        return special.expit(v) * special.expit(-v)

    mean, _ = integrate.quad(
        lambda v: special.expit((special.logit(p) + v) / 0.1) * density(v), -40, 40, limit=200
    )
    z = 1 - np.asarray(jaxdrop.concrete_dropout(KEY, ONES, p), np.float64) * (1 - p)
    # Hoeffding for numbers between 0 and 1, false alarm 1e-8.
    bound = np.sqrt(np.log(2 / 1e-8) / (2 * z.size))
    assert abs(z.mean() - mean) < bound
    assert abs(z.mean() - mean - 0.02) > bound  # a law that is off by 0.02 is seen
    approximation = p + (np.pi * 0.1) ** 2 / 6 * p * (1 - p) * (1 - 2 * p)
    assert abs(mean - approximation) < 1e-3


def test_a_low_temperature_is_dropout_of_the_same_rate():
    y = np.asarray(jaxdrop.concrete_dropout(KEY, ONES, 0.3, temperature=1e-6))
    assert np.isin(y, [0, np.float32(1 / 0.7), y.max()]).mean() > 0.999
    assert_mask_rate(jnp.asarray(y > 0.5), 0.3)


@pytest.mark.slow
def test_rates_zero_and_one_and_test_time():
    assert jaxdrop.concrete_dropout(None, ONES, 0.0) is ONES
    assert jaxdrop.concrete_dropout(None, ONES, 0.3, deterministic=True) is ONES
    np.testing.assert_array_equal(jaxdrop.concrete_dropout(KEY, ONES, 1.0), 0 * ONES)
    traced = jax.jit(lambda p, d: jaxdrop.concrete_dropout(KEY, ONES, p, deterministic=d))
    np.testing.assert_array_equal(traced(0.3, jnp.array(True)), ONES)
    np.testing.assert_allclose(traced(0.0, jnp.array(False)), ONES, atol=1e-4)
    np.testing.assert_array_equal(traced(1.0, jnp.array(False)), 0 * ONES)
    np.testing.assert_array_equal(jaxdrop.concrete_dropout(KEY, ONES, jnp.ones(200)), 0 * ONES)
    gradient = jax.grad(lambda p: jaxdrop.concrete_dropout(KEY, ONES, p).sum())
    for p in (0.0, 1.0):
        assert np.isfinite(gradient(jnp.array(p)))


@pytest.mark.slow
def test_broadcast_dims_and_arrays_of_rates():
    y = jaxdrop.concrete_dropout(KEY, ONES, 0.5, broadcast_dims=(0,))
    assert (y == y[:1]).all()
    rate = jnp.linspace(0.1, 0.9, 200)
    y = jaxdrop.concrete_dropout(KEY, ONES, rate)
    columns = [jaxdrop.concrete_dropout(KEY, ONES, rate[i])[:, i] for i in (0, 199)]
    np.testing.assert_allclose(y[:, [0, 199]], jnp.stack(columns, 1), rtol=1e-5)
    with pytest.raises(ValueError, match=r"shape \(3,\), which does not broadcast"):
        jaxdrop.concrete_dropout(KEY, ONES, jnp.full(3, 0.1))


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_the_dtype_is_kept(dtype):
    assert jaxdrop.concrete_dropout(KEY, ONES.astype(dtype), 0.5).dtype == dtype


def test_a_temperature_of_zero_is_told_in_a_sentence():
    with pytest.raises(ValueError, match="temperature=0, expected a Python number above 0"):
        jaxdrop.concrete_dropout(KEY, ONES, 0.5, temperature=0)


def test_a_temperature_that_is_no_number_is_told_in_a_sentence():
    with pytest.raises(TypeError, match="^got temperature='a' of type str, expected a Python numb"):
        jaxdrop.concrete_dropout(KEY, ONES, 0.5, temperature="a")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="^got temperature=.* expected a Python number above 0"):
        jax.jit(lambda t: jaxdrop.concrete_dropout(KEY, ONES, 0.5, temperature=t))(0.1)


@pytest.mark.slow
def test_the_regularizer_is_its_closed_form():
    kernel = jnp.arange(12.0).reshape(4, 3)

    def ours(p):
        return jaxdrop.concrete_regularizer(
            p, kernel, inputs=4, weight_factor=0.01, entropy_factor=0.5
        )

    p = 0.2
    entropy = -(p * np.log(p) + (1 - p) * np.log(1 - p))
    np.testing.assert_allclose(ours(p), 0.01 * 506 / 0.8 - 0.5 * 4 * entropy, rtol=1e-6)
    slope = 0.01 * 506 / 0.64 + 0.5 * 4 * np.log(p / (1 - p))
    np.testing.assert_allclose(jax.grad(ours)(jnp.array(p)), slope, rtol=1e-5)


def test_gradient_descent_finds_the_rate_that_the_regularizer_asks_for():
    """Without data, the rate that minimises the regulariser of small weights is 1/2."""
    kernel = jnp.full((4, 3), 1e-3)

    @jax.jit
    def step(logit):
        return logit - jax.grad(
            lambda v: jaxdrop.concrete_regularizer(
                jax.nn.sigmoid(v), kernel, inputs=4, weight_factor=1.0, entropy_factor=1.0
            )
        )(logit)

    logit = jnp.array(-2.0)
    for _ in range(50):
        logit = step(logit)
    np.testing.assert_allclose(jax.nn.sigmoid(logit), 0.5, atol=1e-3)


def test_a_regulariser_of_several_rates_is_refused():
    with pytest.raises(ValueError, match=r"^got a rate of shape \(2,\); .* jax.vmap"):
        jaxdrop.concrete_regularizer(
            jnp.full(2, 0.5), jnp.ones((2, 3)), inputs=2, weight_factor=1.0, entropy_factor=1.0
        )
