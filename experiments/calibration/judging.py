"""What the metrics of jaxdrop.mc say about the log-probabilities of test digits and of clothes."""

from typing import Any

import jax
import numpy as np

from jaxdrop import mc

BINS = 15
POINTS = np.linspace(0.05, 1, 96)  # of coverage, that are stored


def judge(log_p: jax.Array, log_outside: jax.Array, labels: np.ndarray) -> dict[str, Any]:
    """Return accuracy, scores, calibration errors, risk against coverage, and AUROC of clothes."""
    p, outside = jax.nn.softmax(log_p), jax.nn.softmax(log_outside)
    wrong = np.asarray(p.argmax(-1)) != labels
    entropy = mc.predictive_entropy(p[None])
    curve = mc.risk_coverage(entropy, wrong)
    count, confidence, accuracy = mc.reliability(p, labels, bins=BINS)
    return {
        "accuracy": 1 - float(wrong.mean()),
        "nll": float(mc.negative_log_likelihood(p, labels)),
        "brier": float(mc.brier_score(p, labels)),
        "ece": float(mc.expected_calibration_error(p, labels, bins=BINS)),
        "adaptive": float(mc.adaptive_calibration_error(p, labels, bins=BINS)),
        "classwise": float(mc.classwise_calibration_error(p, labels, bins=BINS)),
        "aurc": mc.aurc(entropy, wrong),
        "auroc": mc.auroc(entropy, mc.predictive_entropy(outside[None])),
        "confidence_outside": float(outside.max(-1).mean()),
        "temperature": 1.0,
        "risk": np.interp(POINTS, curve.coverage, curve.risk).tolist(),
        "count": np.asarray(count).tolist(),
        "confidence_in_bin": np.nan_to_num(np.asarray(confidence, float)).tolist(),
        "accuracy_in_bin": np.nan_to_num(np.asarray(accuracy, float)).tolist(),
    }


def with_temperature(
    parts: list[jax.Array], held_out_labels: np.ndarray, labels: np.ndarray
) -> dict[str, Any]:
    """Judge (held-out rows, test rows, clothes) after the temperature of the held-out rows."""
    t = mc.fit_temperature(parts[0], held_out_labels)
    return {**judge(parts[1] / t, parts[2] / t, labels), "temperature": t}
