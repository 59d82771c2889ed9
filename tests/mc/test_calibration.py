"""Temperature, adaptive and classwise calibration, risk against coverage: small references."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy import optimize, special, stats

from jaxdrop import mc

RANDOM = np.random.RandomState(0)


def by_bins(p: np.ndarray, labels: np.ndarray, bins: int) -> tuple[float, float]:
    """Both definitions, one bin after another, in float64: (adaptive, classwise)."""
    n, classes = p.shape
    order = np.argsort(p.max(-1))
    right = p.argmax(-1) == labels
    adaptive = classwise = 0.0
    for i in range(bins):
        member = order[i * n // bins : (i + 1) * n // bins]
        if len(member):
            gap = right[member].mean() - p.max(-1)[member].mean()
            adaptive += len(member) / n * abs(gap)
        for c in range(classes):
            inside = (p[:, c] > i / bins) & (p[:, c] <= (i + 1) / bins)
            if inside.any():
                gap = (labels == c)[inside].mean() - p[inside, c].mean()
                classwise += inside.sum() / (n * classes) * abs(gap)
    return adaptive, classwise


BINNED = jax.jit(
    lambda p, labels, bins: (
        mc.adaptive_calibration_error(p, labels, bins=bins),
        mc.classwise_calibration_error(p, labels, bins=bins),
    ),
    static_argnums=2,
)


@pytest.mark.parametrize("n, bins", [(300, 7), (4, 6)], ids=["many", "fewer than bins"])
def test_bins_are_those_of_the_definition(n: int, bins: int) -> None:
    p = RANDOM.dirichlet(np.full(4, 0.4), n).astype(np.float32)
    labels = RANDOM.randint(0, 4, n)
    found = BINNED(p, labels, bins)
    np.testing.assert_allclose(found, by_bins(p.astype(np.float64), labels, bins), rtol=1e-4)


def test_edges_of_the_domain_and_their_gradients() -> None:
    """(probabilities, labels, adaptive, classwise), by hand, with two bins."""
    cases: list[tuple[Any, Any, float, float]] = [
        ([[1, 0]], [0], 0, 0),
        ([[1, 0], [1, 0]], [1, 1], 1, 1),
        ([[1], [1]], [0, 0], 0, 0),
        ([[0.75, 0.25]] * 2, [0, 1], 0.25, 0.25),  # equal confidences share a bin
        ([[0.5, 0.5]] * 2, [1, 0], 0, 0),
    ]
    with jax.debug_nans(True):
        for given, labels, adaptive, classwise in cases:
            for dtype in (jnp.bfloat16, jnp.float32):
                p, numbers = jnp.asarray(given, dtype), jnp.array(labels)
                found = BINNED(p, numbers, 2)
                assert all(value.dtype == jnp.float32 for value in found)
                np.testing.assert_allclose(found, [adaptive, classwise], atol=1e-6)
        gradient = jax.jacrev(lambda p: jnp.stack(BINNED(p, numbers, 2)))(p)
        assert np.isfinite(np.asarray(gradient, np.float64)).all()


def test_the_order_of_rows_has_no_effect_on_ties() -> None:
    p = jnp.array([[0.75, 0.25]] * 4 + [[0.875, 0.125]] * 4)
    labels = jnp.array([0, 0, 0, 1, 0, 0, 1, 1])
    order = jnp.array([7, 3, 0, 5, 1, 2, 6, 4])
    expected = (0 + 4 * 0.375) / 8
    for rows in (jnp.arange(8), order):
        np.testing.assert_allclose(
            mc.adaptive_calibration_error(p[rows], labels[rows], bins=3), expected, rtol=1e-6
        )


def test_a_calibrated_classifier_stays_below_the_bound_and_a_sure_one_does_not() -> None:
    """In each of K bins with n / K rows the sum of the gaps has variance n / K mean(c (1 - c)).

    So E|sum| <= sqrt(n / (4 K)), E error <= sqrt(K / (4 n)); one label moves it by at most 1 / n,
    so by McDiarmid P(error > mean + t) <= exp(-2 n t**2).
    """
    n, bins = 4000, 10
    confidence = RANDOM.uniform(0.5, 1, n)
    labels = (RANDOM.uniform(size=n) > confidence).astype(np.int32)
    p = np.stack([confidence, 1 - confidence], axis=-1).astype(np.float32)
    bound = math.sqrt(bins / (4 * n)) + math.sqrt(-math.log(5e-10) / (2 * n))
    assert mc.adaptive_calibration_error(p, labels, bins=bins) < bound
    sure = special.softmax(4 * np.log(p), axis=-1)
    assert mc.adaptive_calibration_error(sure, labels, bins=bins) > bound


def test_the_temperature_is_where_the_likelihood_is_largest() -> None:
    logits = RANDOM.standard_normal((200, 5)) * 3
    labels = np.array([RANDOM.choice(5, p=special.softmax(row / 2.5)) for row in logits])

    def loss(log_t: float) -> float:
        scores = special.log_softmax(logits / math.exp(log_t), axis=-1)
        return -scores[np.arange(200), labels].mean()

    expected = math.exp(optimize.minimize_scalar(loss, bracket=(-1, 2), tol=1e-10).x)
    t = mc.fit_temperature(logits.astype(np.float32), labels)
    assert t == pytest.approx(expected, rel=1e-5)
    # Scaled logits, and shifted rows, have the temperature that this asks for.
    assert mc.fit_temperature(jnp.float32(7) * logits.astype(np.float32), labels) == pytest.approx(
        7 * t, rel=1e-5
    )
    shifted = logits + RANDOM.standard_normal((200, 1))
    assert mc.fit_temperature(shifted, labels) == pytest.approx(t, rel=1e-5)
    narrow = jnp.asarray(logits, jnp.bfloat16)
    same = mc.fit_temperature(narrow.astype(jnp.float32), labels)
    assert mc.fit_temperature(narrow, labels) == same
    excluded = np.concatenate([logits, np.full((200, 1), -np.inf)], axis=-1)
    assert mc.fit_temperature(excluded, labels) == pytest.approx(t, rel=1e-5)


def test_the_temperature_that_drew_the_labels_is_found() -> None:
    """The slope of the loss at the true 1 / T has mean 0 and variance curvature / n.

    The slope grows with 1 / T by the curvature, whatever the labels, so that it is 0 no farther
    away than the slope's bound over the least curvature on the way.
    """
    n, true = 4000, 2.0
    z = RANDOM.standard_normal((n, 3)) * 4
    p = special.softmax(z / true, axis=-1)
    labels = (RANDOM.uniform(size=(n, 1)) > p.cumsum(-1)).sum(-1)

    def curvature(inverse: float) -> float:
        p = special.softmax(z * inverse, axis=-1)
        return float(((p * z**2).sum(-1) - (p * z).sum(-1) ** 2).mean())

    slope = stats.norm.isf(5e-10) * math.sqrt(curvature(1 / true) / n)
    bound = slope / min(map(curvature, np.linspace(0.3, 0.7, 41)))
    assert bound < 0.2  # within which the curvature was looked at
    assert abs(1 / mc.fit_temperature(z, labels) - 1 / true) < bound
    assert abs(1 - 1 / true) > bound  # logits that are left as they are


def test_risk_at_each_coverage() -> None:
    uncertainty, wrong = RANDOM.uniform(size=50), RANDOM.randint(0, 2, 50)
    curve = mc.risk_coverage(uncertainty, wrong == 1)
    order = np.argsort(uncertainty)
    expected = [wrong[order[:k]].mean() for k in range(1, 51)]
    np.testing.assert_allclose(curve.risk, expected)
    np.testing.assert_allclose(curve.coverage, np.arange(1, 51) / 50)
    assert mc.aurc(uncertainty, wrong) == pytest.approx(np.mean(expected))
    assert mc.aurc(wrong, wrong) < mc.aurc(uncertainty, wrong) < mc.aurc(-wrong, wrong)
    assert mc.aurc(np.zeros(50), wrong) == pytest.approx(wrong.mean())  # says nothing
    assert mc.aurc(jnp.zeros(1, jnp.bfloat16), jnp.ones(1, jnp.bfloat16)) == 1
    assert mc.aurc([-np.inf, 0.0, np.inf], [0.0, 0.0, 3.0]) == pytest.approx(1 / 3)


def test_equal_uncertainties_have_the_mean_over_their_orders() -> None:
    risks = [[0, 0.5, 1 / 3, 0.5], [0, 0, 1 / 3, 0.5]]  # of the two rows in the middle
    found = mc.risk_coverage([0.0, 1.0, 1.0, 2.0], [0, 1, 0, 1])
    np.testing.assert_allclose(found.risk, np.mean(risks, axis=0))


def test_the_diagram_is_drawn_without_its_empty_bins() -> None:
    axes = Figure().subplots()
    p, labels = jnp.array([[0.9, 0.1], [0.6, 0.4]]), jnp.array([0, 1])
    mc.draw_reliability(axes, mc.reliability(p, labels), color="C3", label="network")
    diagonal, line = axes.get_lines()
    np.testing.assert_allclose(np.asarray(line.get_xydata()), [[0.6, 0], [0.9, 1]], rtol=1e-6)
    assert line.get_label() == "network" and np.ptp(diagonal.get_ydata()) == 1


LOGITS, LABELS = np.eye(3, dtype=np.float32), np.arange(3)


@pytest.mark.parametrize(
    "work, sentence",
    [
        (lambda: mc.fit_temperature(LOGITS, LABELS), "largest at the label in all 3 rows"),
        (lambda: mc.fit_temperature(LOGITS[:, :1], LABELS * 0), "largest at the label in all 3"),
        (lambda: mc.fit_temperature(-LOGITS, LABELS), "no larger at the labels of 3 rows"),
        (lambda: mc.fit_temperature(LOGITS * np.nan, LABELS), "got the logit nan of class 0 in"),
        (
            lambda: mc.fit_temperature(np.where(LOGITS, -np.inf, LOGITS), LABELS),
            "got the logit -inf of class 0 in row 0 with the label 0",
        ),
        (lambda: mc.fit_temperature(LOGITS[0], LABELS), r"got logits of shape \(3,\)"),
        (lambda: mc.fit_temperature(LOGITS, LABELS[:2]), r"got labels of shape \(2,\)"),
        (lambda: mc.fit_temperature(LOGITS, LABELS + 1), "expected class numbers 0 to 2"),
        (lambda: mc.adaptive_calibration_error(LOGITS, LABELS, bins=0), "got bins=0"),
        (lambda: mc.classwise_calibration_error(2 * LOGITS, LABELS), "expected probabilities"),
        (lambda: mc.risk_coverage([0.1], [0.0, 1.0]), r"got 2 losses, of shape \(2,\), and unc"),
        (lambda: mc.aurc([np.nan], [0.0]), "got 1 scores uncertainty, 1 of them NaN"),
        (lambda: mc.aurc([], []), "got 0 scores uncertainty"),
    ],
)
def test_wrong_use_is_an_error_in_one_sentence(work: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        work()


def test_the_temperature_is_not_found_within_jit() -> None:
    with pytest.raises(TypeError, match="the temperature is found on the host: give arrays"):
        jax.jit(lambda z: mc.fit_temperature(z, LABELS))(LOGITS)
