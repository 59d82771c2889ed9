"""What masks and keys say, with exact probabilities of seeing this from independent draws.

An answer about masks is True, False, or None where chance alone could explain what was seen. True
is wrong with at most the given probability; False is never wrong, since a mask that is shared
always shows it. Keys are equal or not.
"""

import math
from collections.abc import Iterator

import numpy as np
from scipy.special import gammaln

from jaxdrop.testing._p_values import binomial_p_value


def decisions(steps: list[np.ndarray], first_axis: int) -> list[np.ndarray]:
    """Return the decisions behind masks of one shape: what repeats along an axis counts once.

    Args:
      steps: for each step the masks of its calls, [calls, ...].
      first_axis: axes before this one are left as they are.
    """
    whole = np.stack(steps)
    for axis in range(1 + first_axis, whole.ndim):
        first = whole.take([0], axis)
        if (whole == first).all():
            whole = first
    return list(whole)


Keys = list[list[bytes]]
"""For each step what each of its draws depends on."""


def same_in_steps(keys: Keys) -> bool:
    """Return whether every step draws from the keys of the first."""
    return all(step == keys[0] for step in keys)


def one_key_twice(keys: Keys) -> bool:
    """Return whether, in every step, two draws have one key."""
    return all(len(set(step)) < len(step) for step in keys)


def have_common_key(a: Keys, b: Keys) -> bool:
    """Return whether, in every step, a draw of one has the key of a draw of the other."""
    return all(not set(one).isdisjoint(other) for one, other in zip(a, b, strict=True))


def shared_by_calls(steps: list[np.ndarray], limit: float) -> bool | None:
    """Answer whether two calls in one step have one mask, in every step."""
    if len(steps[0]) < 2:
        return None
    return _shared((_two_alike(calls) for calls in steps), limit)


def shared_by_rows(steps: list[np.ndarray], limit: float) -> bool | None:
    """Answer whether all rows along the first axis, those of the examples, have one mask."""
    rows = [row for calls in steps for row in calls if row.ndim and len(row) > 1]
    if not rows:
        return None
    return _shared((_same([r[:1]] * (len(r) - 1), list(r[1:, None])) for r in rows), limit)


def rate_p_value(steps: list[np.ndarray], rate: float) -> tuple[int, int, float]:
    """Return how many decisions dropped, of how many, and how unlikely that is at a rate.

    ``number kept ~ Binomial(number of decisions, 1 - rate)``
    """
    kept = sum(int((calls != 0).sum()) for calls in steps)
    total = sum(calls.size for calls in steps)
    return total - kept, total, float(binomial_p_value(kept, total, 1 - rate))


def _shared(chances: Iterator[float | None], limit: float) -> bool | None:
    """Multiply the chances, as logarithms; None among them: it was not so."""
    total = 0.0
    for chance in chances:
        if chance is None:
            return False
        total += chance
    return True if total <= math.log(limit) else None


def _same(ones: list[np.ndarray], others: list[np.ndarray]) -> float | None:
    """Return log P(each of ones equals its other), given the values that occur in each.

    For exchangeable elements all orders of the values are equally likely.
    """
    total = 0.0
    for one, other in zip(ones, others, strict=True):
        if not np.array_equal(one, other):
            return None
        total += _log_chance(one)
    return total


def _log_chance(values: np.ndarray) -> float:
    counts = np.unique(values, return_counts=True)[1]
    return float(gammaln(counts + 1).sum() - gammaln(counts.sum() + 1))


def _two_alike(calls: np.ndarray) -> float | None:
    """Return the log of a bound of P(two of these are equal)."""
    flat = calls.reshape(len(calls), -1)
    if len(np.unique(flat, axis=0)) == len(flat):
        return None
    pairs = math.log(len(flat) * (len(flat) - 1) / 2)
    return min(0.0, pairs + max(map(_log_chance, flat)))
