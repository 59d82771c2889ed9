"""Parts of one mask, compared with each other: none may repeat another, wherever it lies."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import fft

from jaxdrop.testing._p_values import in_words, overlap_p_value

Pairs = list[tuple[str, Any, str, Any]]  # name and part, name and part: bool, [rows, columns]


def assert_no_repeat(pairs: Pairs, budget: float) -> None:
    """Assert that no part is another one, or its complement, also after a cyclic shift.

    For each of the n shifts of n elements the overlap of independent masks is hypergeometric, given
    what each of them keeps. So ``budget / (pairs * n)`` is the limit of one p-value, and by the
    union bound some pair fails at some shift with probability ``budget`` at most. Correlations,
    computed by FFT, only choose for which pair and shift the p-value is computed.

    Raises:
      AssertionError: with the pair and the shift that agree most.
      ValueError: if no overlap could fail.
    """
    worst, strongest = None, -1.0
    for names in pairs:
        _, a, _, b = names
        shift, strength = _strongest_shift(a, b)
        if strength > strongest:
            worst, strongest = (names, shift), strength
    assert worst is not None
    (name_a, a, name_b, b), shift = worst
    size, kept_a, kept_b = a.size, int(a.sum()), int(b.sum())
    limit = budget / (len(pairs) * size)
    extremes = max(0, kept_a + kept_b - size), min(kept_a, kept_b)
    if min(overlap_p_value(both, kept_a, kept_b, size) for both in extremes) > limit:
        raise ValueError(
            f"{name_a} and {name_b} keep {kept_a} and {kept_b} of {size} elements, and any overlap "
            f"would pass at a limit of {limit:.2g}: give a larger shape or a larger false_alarm"
        )
    overlap = int((a & np.roll(b, [-d for d in shift], (0, 1))).sum())
    p_value = overlap_p_value(overlap, kept_a, kept_b, size)
    if p_value <= limit:
        moved = f", shifted by {shift}," if any(shift) else ""
        same = " (they are identical)" if overlap == kept_a == kept_b else ""
        raise AssertionError(
            f"{name_a} and {name_b}{moved} keep {kept_a} and {kept_b} of {size} elements and agree "
            f"on keeping {overlap}{same}, expected {kept_a * kept_b / size:.6g} of independent "
            f"ones: the probability of a deviation this large is {in_words(p_value)}, the limit "
            f"{limit:.2g}"
        )


def _strongest_shift(a: np.ndarray, b: np.ndarray) -> tuple[tuple[int, int], float]:
    """Return the shift at which |correlation| is greatest, and that, times the square root of n."""
    left, right = (m.astype(np.float32) - m.mean(dtype=np.float32) for m in (a, b))
    sums = fft.irfft2(np.conj(fft.rfft2(left)) * fft.rfft2(right), s=a.shape)
    row, column = np.unravel_index(int(np.argmax(np.abs(sums))), a.shape)
    spread = float(left.std() * right.std())
    strength = abs(float(sums[row, column])) / spread / a.size**0.5 if spread else 0.0
    return (int(row), int(column)), strength


def pairs_of(law: str, mask: np.ndarray) -> Pairs:
    """Return which parts of a mask [B, N, T, S] a law compares."""
    batch, heads = mask.shape[:2]
    if law == "heads":
        return [
            (plane(b, n), mask[b, n], plane(b, m), mask[b, m])
            for b in range(batch)
            for n, m in _two_of(heads)
        ]
    if law == "batch":
        return [
            (plane(b, n), mask[b, n], plane(c, n), mask[c, n])
            for n in range(heads)
            for b, c in _two_of(batch)
        ]
    found: Pairs = []
    for b, n in np.ndindex(batch, heads):
        parts = _PARTS[law](mask[b, n])
        names = [f"the {name} of {plane(b, n)}" for name in parts]
        arrays = list(parts.values())
        found += [(names[i], arrays[i], names[j], arrays[j]) for i, j in _two_of(len(parts))]
    return found


def plane(b: int, n: int) -> str:
    return f"example {b}, head {n}"


def _two_of(count: int) -> Iterator[tuple[int, int]]:
    return ((i, j) for i in range(count) for j in range(i + 1, count))


def _quarters(m: np.ndarray) -> dict[str, np.ndarray]:
    t, s = m.shape[0] // 2, m.shape[1] // 2
    return {
        "first queries and keys": m[:t, :s],
        "first queries and last keys": m[:t, s:],
        "last queries and first keys": m[t:, :s],
        "last queries and keys": m[t:, s:],
    }


_PARTS = {
    "rows": lambda m: {"even queries": m[::2], "odd queries": m[1::2]},
    "columns": lambda m: {"even keys": m[:, ::2], "odd keys": m[:, 1::2]},
    "tiles": _quarters,
}
