"""The metrics against scikit-learn, scipy and torch-uncertainty's definitions, written out."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats
from sklearn import metrics

from jaxdrop import mc

RANDOM = np.random.RandomState(0)
SAMPLES = RANDOM.dirichlet(np.full(4, 0.7), (20, 50)).astype(np.float32)  # [T, batch, classes]
MEAN = SAMPLES.mean(0)
LABELS = RANDOM.randint(0, 4, 50)
CLOSE: dict[str, Any] = dict(rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_entropies_are_scipy_s() -> None:
    total = stats.entropy(SAMPLES.mean(0).astype(float), axis=-1)
    noise = stats.entropy(SAMPLES.astype(float), axis=-1).mean(0)
    np.testing.assert_allclose(mc.predictive_entropy(SAMPLES), total, **CLOSE)
    np.testing.assert_allclose(mc.expected_entropy(SAMPLES), noise, **CLOSE)
    np.testing.assert_allclose(mc.mutual_information(SAMPLES), total - noise, **CLOSE)
    assert (np.asarray(mc.mutual_information(SAMPLES)) > 0).all()


def test_certain_predictions_have_no_entropy() -> None:
    sure = np.eye(4, dtype=np.float32)[LABELS][None]
    for measure in (mc.predictive_entropy, mc.expected_entropy, mc.mutual_information):
        assert (np.asarray(measure(sure)) == 0).all()


def test_votes_are_scipy_s_mode() -> None:
    share = stats.mode(SAMPLES.argmax(-1), axis=0).count / len(SAMPLES)
    np.testing.assert_allclose(mc.variation_ratio(SAMPLES), 1 - share, **CLOSE)
    np.testing.assert_allclose(mc.max_probability(SAMPLES), MEAN.max(-1), **CLOSE)


@pytest.mark.slow
def test_scores_are_scikit_learn_s() -> None:
    exact = MEAN.astype(float) / MEAN.astype(float).sum(-1, keepdims=True)
    nll = metrics.log_loss(LABELS, exact, labels=range(4))
    np.testing.assert_allclose(mc.negative_log_likelihood(MEAN, LABELS), nll, **CLOSE)
    brier = np.square(MEAN - np.eye(4)[LABELS]).sum(-1).mean()
    np.testing.assert_allclose(mc.brier_score(MEAN, LABELS), brier, **CLOSE)
    two = np.stack([1 - MEAN[:, 0], MEAN[:, 0]], axis=-1)
    binary = (LABELS == 0).astype(int)
    half = metrics.brier_score_loss(binary, two[:, 1])  # which counts one of the two classes
    np.testing.assert_allclose(mc.brier_score(two, binary), 2 * half, **CLOSE)


def guo(p: np.ndarray, labels: np.ndarray, bins: int) -> tuple[float, float]:
    """torch-uncertainty's and Kumar's sums, one bin after another: (ECE, debiased squared)."""
    confidence, right = p.max(-1), p.argmax(-1) == labels
    edges = np.linspace(0, 1, bins + 1)
    ece = square = 0.0
    for low, high in zip(edges, edges[1:], strict=False):
        member = (confidence > low) & (confidence <= high)
        n = member.sum()
        if n:
            accuracy, sure = right[member].mean(), confidence[member].mean()
            ece += n / len(p) * abs(accuracy - sure)
            if n > 1:
                chance = accuracy * (1 - accuracy) / (n - 1)
                square += n / len(p) * ((accuracy - sure) ** 2 - chance)
    return ece, square


@pytest.mark.slow
@pytest.mark.parametrize("bins", [1, 7, 15])
def test_calibration_is_guo_s_and_kumar_s(bins: int) -> None:
    p = RANDOM.dirichlet(np.full(4, 0.4), 600).astype(np.float32)
    labels = RANDOM.randint(0, 4, 600)
    ece, square = guo(p.astype(np.float64), labels, bins)
    assert square > 0
    np.testing.assert_allclose(
        mc.expected_calibration_error(p, labels, bins=bins), ece, rtol=1e-3, atol=1e-4
    )
    np.testing.assert_allclose(
        mc.debiased_calibration_error(p, labels, bins=bins), square**0.5, rtol=1e-3, atol=1e-4
    )


@pytest.mark.slow
def test_the_diagram_counts_every_example_once() -> None:
    count, confidence, accuracy = mc.reliability(MEAN, LABELS, bins=10)
    assert count.sum() == 50
    kept = np.asarray(count) > 0
    right = (MEAN.argmax(-1) == LABELS).mean()
    n = np.asarray(count)[kept]
    np.testing.assert_allclose((np.asarray(accuracy)[kept] * n).sum() / 50, right, rtol=1e-5)
    assert np.isnan(np.asarray(confidence)[~kept]).all()
    assert mc.reliability(np.array([[1.0, 0.0]]), np.array([0]), bins=5).count.tolist()[-1] == 1


@pytest.mark.slow
def test_debiasing_takes_away_what_chance_puts_in() -> None:
    # A fair coin, called 0.5: calibrated. With n = 20 tosses the gap g = mean - 1/2 has
    # E[g**2] = 1/80, and the debiased square has mean 0 and, being an average of products of
    # different tosses, variance 2 / (16 n (n - 1)).
    n, trials = 20, 4000
    right = RANDOM.randint(0, 2, (trials, n))
    p = np.full((n, 2), 0.5, np.float32)
    count, confidence, accuracy = jax.vmap(lambda r: mc.reliability(p, r, bins=1))(jnp.array(right))
    gap, share = np.asarray(accuracy - confidence, np.float64)[:, 0], np.asarray(accuracy)[:, 0]
    debiased = gap**2 - share * (1 - share) / (n - 1)
    deviation = np.sqrt(2 / (16 * n * (n - 1)) / trials)
    bound = stats.norm.isf(5e-10) * deviation
    assert abs(debiased.mean()) < bound
    assert abs((gap**2).mean()) > bound  # the plain square is caught
    value = jax.vmap(lambda r: mc.debiased_calibration_error(p, r, bins=1))(jnp.array(right))
    np.testing.assert_allclose(value, np.sqrt(np.maximum(debiased, 0)), atol=1e-4)


def test_auroc_is_the_share_of_pairs() -> None:
    inside, outside = RANDOM.randint(0, 6, 40), RANDOM.randint(2, 9, 30)
    test = stats.mannwhitneyu(outside, inside)
    assert mc.auroc(inside, outside) == pytest.approx(test.statistic / 1200)


@pytest.mark.slow
def test_regression_is_scipy_s_mixture_of_normals() -> None:
    samples, y, tau = RANDOM.standard_normal((30, 8)), RANDOM.standard_normal(8), 2.5
    density = stats.norm.pdf(y, samples, tau**-0.5).mean(0)
    ll = mc.regression_log_likelihood(samples.astype(np.float32), y.astype(np.float32), tau)
    np.testing.assert_allclose(ll, np.log(density), **CLOSE)
    gal = special.logsumexp(-0.5 * tau * (y - samples) ** 2, 0) - np.log(30)
    np.testing.assert_allclose(ll, gal - 0.5 * np.log(2 * np.pi) + 0.5 * np.log(tau), **CLOSE)
    mean, variance = mc.regression_moments(samples.astype(np.float32), tau)
    np.testing.assert_allclose(mean, samples.mean(0), **CLOSE)
    np.testing.assert_allclose(variance, samples.var(0) + 1 / tau, **CLOSE)


@pytest.mark.slow
def test_far_observations_do_not_underflow() -> None:
    ll = mc.regression_log_likelihood(jnp.zeros((10, 1)), jnp.array([1e4]), 1.0)
    np.testing.assert_allclose(ll, -0.5e8, rtol=1e-5)


@pytest.mark.slow
def test_metrics_can_be_jitted() -> None:
    for measure in (mc.mutual_information, mc.variation_ratio):
        np.testing.assert_allclose(jax.jit(measure)(SAMPLES), measure(SAMPLES), **CLOSE)
    for score in (mc.brier_score, mc.expected_calibration_error):
        np.testing.assert_allclose(jax.jit(score)(MEAN, LABELS), score(MEAN, LABELS), **CLOSE)


@pytest.mark.slow
@pytest.mark.parametrize(
    "work, sentence",
    [
        (lambda: mc.predictive_entropy(3 * SAMPLES), "expected probabilities; for logits, pass"),
        (lambda: mc.predictive_entropy(SAMPLES - 0.5), "got values from -0"),
        (lambda: mc.predictive_entropy(SAMPLES * np.nan), "a row that sums to nan"),
        (lambda: mc.predictive_entropy(MEAN), r"expected a floating array \[samples, batch, class"),
        (lambda: mc.predictive_entropy(SAMPLES[:0]), r"got probabilities of shape \(0, 50, 4\)"),
        (lambda: mc.brier_score(MEAN, LABELS[:9]), r"got labels of shape \(9,\)"),
        (lambda: mc.brier_score(MEAN, LABELS + 1), "expected class numbers 0 to 3"),
        (lambda: mc.brier_score(MEAN, MEAN[:, 0]), "dtype float32, expected integers"),
        (lambda: mc.expected_calibration_error(MEAN, LABELS, bins=0), "got bins=0"),
        (lambda: mc.auroc([], [1.0]), "got 0 scores inside"),
        (lambda: mc.auroc([1.0], [np.nan]), "got 1 scores outside, 1 of them NaN"),
        (lambda: mc.regression_moments(jnp.ones((0, 3)), 1.0), "expected one sample at least"),
        (lambda: mc.regression_moments(jnp.ones((2, 3)), 0.0), "got tau=0.0, expected a finite"),
        (
            lambda: mc.regression_log_likelihood(jnp.ones((2, 3)), jnp.ones(2), 1.0),
            r"expected y to be shaped like one prediction, \(3,\)",
        ),
    ],
)
def test_wrong_use_is_an_error_in_one_sentence(work: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        work()
