"""Assertions about masks: the rate of one, the independence of two."""

from typing import Any

import jax
import numpy as np
from jaxtyping import Bool

from jaxdrop._core.annotations import AnyArray
from jaxdrop._core.checks import array_of
from jaxdrop._core.rate import check_rate
from jaxdrop.testing._p_values import binomial_p_value, check_false_alarm, in_words, overlap_p_value


def assert_mask_rate(
    mask: Bool[AnyArray, "..."], rate: float, *, false_alarm: float = 1e-6
) -> None:
    """Assert that a mask drops each element with probability rate.

    ``number kept ~ Binomial(number of elements, 1 - rate)``

    The exact binomial law is applied to the whole mask, to each row and to each column; of an array
    with more than two dimensions, all but the last count as rows. One third of the budget goes to
    each of the three, shared evenly among rows and among columns. For n elements at the default
    budget a deviation of ``5.1 * sqrt(rate * (1 - rate) / n)`` in the rate is found.

    Args:
      mask: bool array, True = kept, elements drawn independently: of a mask with broadcast_dims,
        pass one slice along those dimensions.
      rate: probability of dropping, one number. At 0 and 1 every element is checked.
      false_alarm: probability of failing although the rate is right, in (0, 1).

    Raises:
      AssertionError: with the part of the mask that deviates most, and its probability.
      TypeError: if mask is no bool array, or the rate is not known here.
      ValueError: if the mask is too small for any count to fail at this budget.

    >>> import jax, jaxdrop
    >>> assert_mask_rate(jaxdrop.keep_mask(jax.random.key(0), (128, 64), 0.1), 0.1)
    """
    check_false_alarm(false_alarm)
    array = _as_mask(mask, "mask")
    checked = check_rate(rate)
    if isinstance(checked.value, jax.core.Tracer):
        raise TypeError(f"got rate={rate!r:.60}, expected a number that is known here")
    if np.ndim(checked.value):
        raise ValueError(f"got a rate of shape {np.shape(checked.value)}, expected one number")
    keep = 1.0 - float(checked.value)
    total = array.size
    parts = {"the mask": np.array([array.sum()])}
    if array.ndim >= 2:
        rows = array.reshape(-1, array.shape[-1])
        parts |= {"row {} of the mask": rows.sum(1), "column {} of the mask": rows.sum(0)}
    extreme = min(binomial_p_value(np.array([0, total]), total, keep))
    if total == 0 or extreme > false_alarm / len(parts):
        raise ValueError(
            f"a mask of {total} elements is too small: at rate {rate} any number kept would pass "
            f"with {false_alarm=}; give more elements or a larger false_alarm"
        )
    worst = (np.inf, "")
    for name, kept in parts.items():
        size = total // len(kept)
        budget = false_alarm / len(parts) / len(kept)
        p_values = binomial_p_value(kept, size, keep)
        i = int(np.argmin(p_values))
        if p_values[i] > budget:
            continue
        message = (
            f"{name.format(i)} of shape {array.shape} keeps {kept[i]} of {size} elements, "
            f"expected {size * keep:.6g} at rate {rate}: the probability of a deviation this large "
            f"is {in_words(p_values[i])}, the limit {budget:.2g} "
            f"({false_alarm=} shared among {sum(map(len, parts.values()))} tests)"
        )
        worst = min(worst, (p_values[i] / budget, message))
    if worst[1]:
        raise AssertionError(worst[1])


def assert_independent_masks(
    a: Bool[AnyArray, "..."], b: Bool[AnyArray, "..."], *, false_alarm: float = 1e-6
) -> None:
    """Assert that what one mask keeps says nothing about what the other keeps.

    ``number kept by both ~ Hypergeometric(size, kept by a, kept by b)``

    Given how many elements each mask keeps, the law of the overlap of independent masks is known
    exactly, at any rates. Elements are compared in place: a shifted copy is not found.

    Args:
      a, b: bool arrays of one shape, True = kept, the elements of each drawn independently.
      false_alarm: probability of failing although the masks are independent, in (0, 1).

    Raises:
      AssertionError: with the overlap observed and expected, and its probability.
      ValueError: if no overlap could fail, because the masks are too small, empty or full.

    >>> import jax, jaxdrop
    >>> keys = jax.random.split(jax.random.key(0))
    >>> assert_independent_masks(*[jaxdrop.keep_mask(k, (1000,), 0.2) for k in keys])
    """
    check_false_alarm(false_alarm)
    first, second = _as_mask(a, "a"), _as_mask(b, "b")
    if first.shape != second.shape:
        raise ValueError(f"got masks of shapes {first.shape} and {second.shape}, expected the same")
    total, kept_a, kept_b = first.size, int(first.sum()), int(second.sum())
    fewest, most = max(0, kept_a + kept_b - total), min(kept_a, kept_b)
    if (
        total == 0
        or min(overlap_p_value(both, kept_a, kept_b, total) for both in (fewest, most))
        > false_alarm
    ):
        raise ValueError(
            f"masks that keep {kept_a} and {kept_b} of {total} elements are too small, too empty "
            f"or too full: any overlap would pass with {false_alarm=}"
        )
    both = int((first & second).sum())
    p_value = overlap_p_value(both, kept_a, kept_b, total)
    if p_value <= false_alarm:
        raise AssertionError(
            f"the masks keep {kept_a} and {kept_b} of {total} elements and agree on keeping {both}"
            + (" (they are identical)" if np.array_equal(first, second) else "")
            + f", expected {kept_a * kept_b / total:.6g} of independent masks: the probability of "
            f"a deviation this large is {in_words(p_value)}, the limit {false_alarm:.2g}"
        )


def _as_mask(mask: Any, name: str) -> np.ndarray:
    expected = "expected a bool array that is True where an element is kept"
    dtype = array_of(mask, name, expected).dtype
    if isinstance(mask, jax.core.Tracer):
        raise TypeError(f"got {name} of type {type(mask).__name__}, not known here; {expected}")
    if dtype != np.bool_:
        raise TypeError(f"got {name} of dtype {dtype}, {expected}")
    return np.asarray(mask)
