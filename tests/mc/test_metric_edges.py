"""Every metric at the edges of its domain under jax_debug_nans, and in every dtype."""

import math
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from jaxdrop import mc

DTYPES = [jnp.bfloat16, jnp.float32]
LOG2 = math.log(2)


@pytest.fixture(autouse=True)
def debugging() -> Iterator[None]:
    with jax.debug_nans(True):
        yield


# Samples of one example, and: predictive entropy, expected entropy, variation ratio, confidence.
SAMPLES: dict[str, tuple[Any, list[float]]] = {
    "one sure sample": ([[1, 0]], [0, 0, 0, 1]),
    "one undecided sample": ([[0.5, 0.5]], [LOG2, LOG2, 0, 0.5]),
    "two at odds": ([[1, 0], [0, 1]], [LOG2, 0, 0.5, 0.5]),
    "one class": ([[1], [1]], [0, 0, 0, 1]),
    "a class that nobody takes": ([[0.5, 0.5, 0], [0.5, 0.5, 0]], [LOG2, LOG2, 0, 0.5]),
    "a probability below the normal numbers": ([[1, 1e-45]], [0, 0, 0, 1]),
}
OF_SAMPLES = [
    mc.predictive_entropy,
    mc.expected_entropy,
    mc.variation_ratio,
    mc.max_probability,
    mc.mutual_information,
]


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", SAMPLES)
def test_what_samples_say(case: str, dtype: Any) -> None:
    given, expected = SAMPLES[case]
    p = jnp.asarray(given, dtype)[:, None]
    expected = [*expected, expected[0] - expected[1]]
    for metric, value in zip(OF_SAMPLES, expected, strict=True):
        for call in (metric, jax.jit(metric)):
            found = call(p)
            assert found.dtype == jnp.float32
            np.testing.assert_allclose(found, [value], atol=1e-6, err_msg=metric.__name__)
        gradient = jax.grad(lambda p, metric=metric: metric(p).sum())(p)
        assert gradient.dtype == dtype and np.isfinite(np.asarray(gradient, np.float64)).all()


# Probabilities, labels, and: negative log-likelihood, Brier, ECE, debiased (by the docstrings).
PREDICTIONS: dict[str, tuple[Any, list[int], list[float]]] = {
    "one that is sure and right": ([[1, 0]], [0], [0, 0, 0, 0]),
    "one that is sure and wrong": ([[1, 0]], [1], [math.inf, 2, 1, 0]),
    "two that are sure and wrong": ([[1, 0], [1, 0]], [1, 1], [math.inf, 2, 1, 1]),
    "one class": ([[1], [1]], [0, 0], [0, 0, 0, 0]),
    "all in one bin": ([[0.75, 0.25]] * 2, [0, 1], [math.log(16 / 3) / 2, 0.625, 0.25, 0]),
    "nothing to debias": ([[0.5, 0.5]] * 2, [0, 1], [LOG2, 0.5, 0, 0]),
}
OF_PREDICTIONS = [
    mc.negative_log_likelihood,
    mc.brier_score,
    mc.expected_calibration_error,
    mc.debiased_calibration_error,
]


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", PREDICTIONS)
@pytest.mark.parametrize("metric", range(4), ids=lambda i: OF_PREDICTIONS[i].__name__)
def test_what_predictions_say(metric: int, case: str, dtype: Any) -> None:
    given, labels, expected = PREDICTIONS[case]
    p, function = jnp.asarray(given, dtype), OF_PREDICTIONS[metric]
    for call in (function, jax.jit(function)):
        found = call(p, jnp.array(labels))
        assert found.dtype == jnp.float32
        np.testing.assert_allclose(found, expected[metric], atol=1e-6)
    gradient = jax.grad(function)(p, jnp.array(labels))
    assert not np.isnan(np.asarray(gradient, np.float64)).any()
    assert np.isfinite(expected[metric]) == np.isfinite(np.asarray(gradient, np.float64)).all()


@pytest.mark.slow
def test_an_empty_bin_of_the_issue() -> None:
    p, labels = jnp.array([[0.9, 0.1]] * 2), jnp.array([0, 1])
    np.testing.assert_allclose(mc.expected_calibration_error(p, labels), 0.4, rtol=1e-6)
    count, confidence, accuracy = mc.reliability(p, labels, bins=3)
    assert count.tolist() == [0, 0, 2]
    assert np.isnan(confidence).tolist() == np.isnan(accuracy).tolist() == [True, True, False]


@pytest.mark.slow
def test_a_batch_of_more_dimensions_is_one_of_more_examples() -> None:
    p = jax.random.dirichlet(jax.random.key(0), jnp.ones(3), (4, 5))
    labels = jnp.arange(20).reshape(4, 5) % 3
    for metric in (*OF_PREDICTIONS, lambda p, labels: mc.reliability(p, labels).count):
        flat = metric(p.reshape(20, 3), labels.ravel())
        np.testing.assert_allclose(metric(p, labels), flat, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_narrow_probabilities_are_measured_in_float32(dtype: Any) -> None:
    """Float64 on the rounded numbers is the right answer; float32 is off by its own rounding."""
    logits = 0.3 * jax.random.normal(jax.random.key(1), (30, 200, 10))
    p = jax.nn.softmax(logits).astype(dtype)
    exact = np.asarray(p, np.float64)
    total = special.entr(exact.mean(0)).sum(-1)
    information = total - special.entr(exact).sum(-1).mean(0)
    np.testing.assert_allclose(mc.predictive_entropy(p), total, rtol=1e-5)
    np.testing.assert_allclose(mc.mutual_information(p), information, atol=4e-6)
    assert information.mean() > 0.02  # the bound is far below what is measured
    mean, labels = p[0], jnp.arange(200) % 10
    rows = np.arange(200)
    np.testing.assert_allclose(
        mc.negative_log_likelihood(mean, labels), -np.log(exact[0][rows, labels]).mean(), rtol=1e-5
    )
    square = (exact[0] - np.eye(10)[labels]) ** 2
    np.testing.assert_allclose(mc.brier_score(mean, labels), square.sum(-1).mean(), rtol=1e-5)
    _, confidence, _ = mc.reliability(mean, labels, bins=1)
    np.testing.assert_allclose(confidence, [exact[0].max(-1).mean()], rtol=1e-5)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_narrow_samples_of_a_number_are_measured_in_float32(dtype: Any) -> None:
    samples = (100 + jax.random.normal(jax.random.key(2), (500, 20))).astype(dtype)
    exact, y = np.asarray(samples, np.float64), 100 + jnp.linspace(-1, 1, 20)
    mean, variance = mc.regression_moments(samples, 2.0)
    assert mean.dtype == variance.dtype == jnp.float32
    np.testing.assert_allclose(mean, exact.mean(0), rtol=1e-5)
    np.testing.assert_allclose(variance, exact.var(0) + 0.5, rtol=1e-4)
    found = mc.regression_log_likelihood(samples, y, 2.0)
    scores = special.logsumexp(-np.square(np.asarray(y, np.float64) - exact), axis=0)
    expected = scores - math.log(500) - math.log(2 * math.pi) / 2 + LOG2 / 2
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("samples", [[[1.0]], [[1.0], [1.0]], [[-1e4], [1e4]]])
def test_few_or_far_samples_of_a_number(samples: Any) -> None:
    y = jnp.zeros(1)
    for function in (
        lambda s: mc.regression_log_likelihood(s, y, 1.0).sum(),
        lambda s: sum(part.sum() for part in mc.regression_moments(s, 1.0)),
    ):
        value, gradient = jax.value_and_grad(function)(jnp.array(samples))
        assert np.isfinite(value) and np.isfinite(gradient).all()


def test_labels_may_be_constants_of_a_jitted_function() -> None:
    labels, p = jnp.array([0, 1]), jnp.array([[0.75, 0.25]] * 2)
    for metric in OF_PREDICTIONS:
        np.testing.assert_allclose(
            jax.jit(lambda p, metric=metric: metric(p, labels))(p), metric(p, labels), rtol=1e-6
        )


def test_infinite_scores_are_ranked() -> None:
    assert mc.auroc([0.0, 1.0, -np.inf], [1.0, np.inf]) == pytest.approx(5.5 / 6)
    assert mc.auroc(jnp.zeros(2, jnp.bfloat16), jnp.ones(1, jnp.bfloat16)) == 1
