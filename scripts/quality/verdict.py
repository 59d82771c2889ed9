"""P-values: how a test states one, and how many of them make a verdict."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

FALSE_ALARM = 1e-6  # probability that a flawless generator fails anywhere in one run of the battery


class Finding(NamedTuple):
    """One p-value: P(a perfect generator deviates at least this much)."""

    test: str
    case: str
    statistic: float
    p: float


def two_sided(law: Any, observed: float) -> float:
    """P-value of an observation of a frozen scipy.stats law, too small or too large."""
    discrete = hasattr(law, "pmf")
    at_least = law.sf(observed - 1) if discrete else law.sf(observed)
    return float(min(1.0, 2 * min(law.cdf(observed), at_least)))


def of_normals(test: str, case: str, z: np.ndarray) -> list[Finding]:
    """Two findings from uncorrelated standard normal deviates.

    Their sum of squares against chi-squared, too small or too large, and the largest of them
    against the normal law with Bonferroni's factor.
    """
    z = np.asarray(z, np.float64).reshape(-1)
    squares = float(np.sum(z * z))
    largest = float(np.max(np.abs(z)))
    return [
        Finding(test, f"{case}, sum of squares", squares, two_sided(stats.chi2(z.size), squares)),
        Finding(
            test,
            f"{case}, largest of {z.size}",
            largest,
            float(min(1.0, 2 * z.size * stats.norm.sf(largest))),
        ),
    ]


def failures(findings: Iterable[Finding]) -> list[Finding]:
    """The findings whose p-value is below FALSE_ALARM divided by their number (Bonferroni)."""
    findings = list(findings)
    return [f for f in findings if f.p < FALSE_ALARM / len(findings)]
