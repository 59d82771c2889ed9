"""Exact two-sided p-values of counts, the counts that they allow, and their wording."""

import bisect
import functools
import math
from typing import Any

import numpy as np
from scipy import stats

from jaxdrop._core.checks import check_number


def binomial_p_value(kept: Any, total: Any, keep: Any) -> np.ndarray:
    """Return min(1, 2 min(P(K <= kept), P(K >= kept))) for K ~ Binomial(total, keep).

    P(p-value <= a) <= a for every a, although K is discrete.
    """
    law = stats.binom(total, keep)
    p_value = 2 * np.minimum(law.cdf(kept), law.sf(np.asarray(kept) - 1))
    return np.asarray(np.minimum(1.0, p_value))


@functools.cache
def count_bounds(total: int, keep: float, budget: float) -> tuple[int, int]:
    """Return the least and the greatest count whose ``binomial_p_value`` is above the budget.

    Those between have one above it, too, and all others have not: the p-value rises to the median
    and falls from there. So the bounds decide as it does, and need no more than a count.

    Args:
      total: number of elements.
      keep: probability of keeping one.
      budget: probability of a count outside of the bounds, at most; below 1.
    """

    def passes(kept: int) -> bool:
        return bool(binomial_p_value(kept, total, keep) > budget)

    middle = int(stats.binom(total, keep).median())
    low = bisect.bisect_left(range(middle), True, key=passes)
    first_to_fail = bisect.bisect_left(
        range(total + 1), True, lo=middle, key=lambda kept: not passes(kept)
    )
    return low, first_to_fail - 1


def overlap_p_value(both: int, kept_a: int, kept_b: int, total: int) -> float:
    """The same for the number of elements that both masks keep, given what each of them keeps.

    For independent masks with exchangeable elements it is hypergeometric, at any rate.
    """
    law = stats.hypergeom(total, kept_a, kept_b)
    # The logarithms are summed from the terms of the tail itself; 1 - cdf would cancel.
    tail = min(float(law.logcdf(both)), float(law.logsf(both - 1)))
    return min(1.0, 2 * math.exp(tail))


def in_words(p_value: float) -> str:
    """Return a p-value as text; one below the floats has a bound.

    >>> in_words(0.0), in_words(2.5e-9)
    ('less than 1e-300', '2.5e-09')
    """
    return "less than 1e-300" if p_value < 1e-300 else f"{p_value:.2g}"


def check_false_alarm(false_alarm: float) -> None:
    """Raise a sentence if this is no probability of a false alarm."""
    expected = "a probability between 0 and 1"
    check_number(false_alarm, "false_alarm", expected, lambda p: 0 < p < 1, traced=False)
