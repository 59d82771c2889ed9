"""Assertions about masks: the rate of one, the independence of two."""

import functools
from typing import Any, NamedTuple

import chex
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool

from jaxdrop._core.annotations import AnyArray
from jaxdrop._core.checks import array_of
from jaxdrop._core.rate import check_rate
from jaxdrop.testing._arguments import told
from jaxdrop.testing._p_values import (
    binomial_p_value,
    check_false_alarm,
    count_bounds,
    in_words,
    overlap_p_value,
)
from jaxdrop.testing._traced import assert_equal, assert_on_host, is_traced


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
      TypeError: if mask is no bool array, if the rate is traced, or if the mask is and no
        chex.chexify is around.
      ValueError: if the mask is too small for any count to fail at this budget, or is traced and
        has 2**31 elements or more.

    In a compiled function the bounds of each count, which are exact, are computed while it is
    traced, and the counts are compared on the device.

    >>> import jax, jaxdrop
    >>> assert_mask_rate(jaxdrop.keep_mask(jax.random.key(0), (128, 64), 0.1), 0.1)
    """
    check_false_alarm(false_alarm)
    array = _as_mask(mask, "mask")
    keep = 1.0 - one_rate(rate)
    parts = _parts(array, keep, false_alarm) if array.size else []
    if not parts or parts[0].allows_all:
        raise ValueError(
            f"a mask of {array.size} elements is too small: at rate {rate} any number kept would "
            f"pass with {false_alarm=}; give more elements or a larger false_alarm"
        )
    shared = f"({false_alarm=} shared among {sum(p.kept.size for p in parts)} tests)"
    if is_traced(array):
        _check_on_device(parts, array.shape, f"at rate {rate} {shared}")
        return
    worst = (np.inf, "")
    for name, kept, size, budget, low, high in parts:
        if ((low <= kept) & (kept <= high)).all():
            continue
        p_values = binomial_p_value(kept, size, keep)
        i = int(np.argmin(p_values))
        message = (
            f"{name.format(i)} of shape {array.shape} keeps {kept[i]} of {size} elements, "
            f"expected {size * keep:.6g} at rate {rate}: the probability of a deviation this large "
            f"is {in_words(p_values[i])}, the limit {budget:.2g} {shared}"
        )
        worst = min(worst, (p_values[i] / budget, message))
    if worst[1]:
        raise AssertionError(worst[1])


class _Part(NamedTuple):
    """Counts of what the same law holds for: the whole mask, its rows, or its columns."""

    name: str
    kept: Any  # one count for each
    size: int  # elements that each of them counts
    budget: float  # probability that one of them is out of bounds
    low: int
    high: int

    @property
    def allows_all(self) -> bool:
        return (self.low, self.high) == (0, self.size)


def _parts(mask: Any, keep: float, false_alarm: float) -> list[_Part]:
    counts = {"the mask": mask.sum(keepdims=True).reshape(-1)}
    if mask.ndim >= 2:
        rows = mask.reshape(-1, mask.shape[-1])
        counts |= {"row {} of the mask": rows.sum(1), "column {} of the mask": rows.sum(0)}
    parts = []
    for name, kept in counts.items():
        size, budget = mask.size // kept.size, false_alarm / len(counts) / kept.size
        parts.append(_Part(name, kept, size, budget, *count_bounds(size, keep, budget)))
    return parts


def _check_on_device(parts: list[_Part], shape: tuple[int, ...], law: str) -> None:
    """Let the program compare its counts with the bounds."""
    for name, kept, size, _, low, high in parts:
        i = jnp.argmax(jnp.maximum(low - kept, kept - high))
        sentence = (
            f"{name} of shape {shape} keeps {{}} of {size} elements, expected {low} to {high} {law}"
        )
        numbers = [i] * ("{}" in name) + [kept[i]]
        nearest = jnp.clip(kept[i], low, high)
        assert_equal(kept[i], nearest, "assert_mask_rate", sentence, *numbers)


def one_rate(rate: Any) -> float:
    """Return a rate that is known here and is one number, or raise a sentence."""
    value = check_rate(rate).value
    if is_traced(value):
        raise TypeError(
            f"got rate={rate!r:.60}, expected a number that is known here, as the bounds of the "
            "count are computed before the program runs"
        )
    with told(ValueError(f"got a rate of shape {np.shape(value)}, expected one number")):
        chex.assert_rank(np.asarray(value), 0)
    return float(value)


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
      TypeError: if one is no bool array, or is traced and no chex.chexify is around.
      ValueError: if no overlap could fail, because the masks are too small, empty or full.

    The law depends on what the masks keep. So a compiled function sends four counts to the host,
    which decides.

    >>> import jax, jaxdrop
    >>> keys = jax.random.split(jax.random.key(0))
    >>> assert_independent_masks(*[jaxdrop.keep_mask(k, (1000,), 0.2) for k in keys])
    """
    check_false_alarm(false_alarm)
    first, second = _as_mask(a, "a"), _as_mask(b, "b")
    shapes = f"got masks of shapes {first.shape} and {second.shape}, expected the same"
    with told(ValueError(shapes)):
        chex.assert_equal_shape([first, second])
    judge = functools.partial(_judge_overlap, total=first.size, false_alarm=false_alarm)
    kept = [m.sum() for m in (first, second, first & second, first ^ second)]
    assert_on_host(judge, *kept, caller="assert_independent_masks")


def _judge_overlap(a: Any, b: Any, both: Any, one: Any, total: int, false_alarm: float) -> None:
    """Judge the numbers of elements that a, b, both, and only one of them keep."""
    kept_a, kept_b, overlap = int(a), int(b), int(both)
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
    p_value = overlap_p_value(overlap, kept_a, kept_b, total)
    if p_value <= false_alarm:
        raise AssertionError(
            f"the masks keep {kept_a} and {kept_b} of {total} elements and agree on keeping "
            f"{overlap}"
            + (" (they are identical)" if not one else "")
            + f", expected {kept_a * kept_b / total:.6g} of independent masks: the probability of "
            f"a deviation this large is {in_words(p_value)}, the limit {false_alarm:.2g}"
        )


def _as_mask(mask: Any, name: str) -> Any:
    """Return a mask on the host as a NumPy array, and a traced one as it is."""
    expected = "expected a bool array that is True where an element is kept"
    array = array_of(mask, name, expected)
    with told(TypeError(f"got {name} of dtype {array.dtype}, {expected}")):
        chex.assert_type(array, bool)
    if not is_traced(array):
        return np.asarray(mask)
    if array.size >= 2**31:
        raise ValueError(
            f"got {name} of {array.size} elements in a compiled function, expected fewer than "
            "2**31, which an int32 can count: give a part of it"
        )
    return array
