"""Calibration errors with bins of equal counts, and of every class."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxdrop._core.annotations import AnyArray
from jaxdrop._core.checks import check_count
from jaxdrop.mc._calibration import bin_numbers
from jaxdrop.mc._probabilities import check_labels, check_probabilities

Probabilities = Float[AnyArray, "batch classes"]


def adaptive_calibration_error(
    probabilities: Probabilities, labels: Int[AnyArray, " batch"], *, bins: int = 15
) -> Float[Array, ""]:
    """Compute the gap between confidence and accuracy in bins that hold equally many examples.

    ``sum_i n_i / n |accuracy_i - confidence_i|``, where bin i holds the examples whose rank by
    confidence, from 0, is from ``floor(i n / bins)`` to below ``floor((i + 1) n / bins)``

    A network that is nearly always sure puts most examples into one bin of
    ``expected_calibration_error``; here every bin has the same say. Equal confidences share the
    lowest of their ranks and are in one bin, so that the order of the rows has no effect. Nixon et
    al. average such gaps over all classes; this one is of the most probable class, as in Nguyen &
    O'Connor.

    Even for a perfectly calibrated classifier it is above 0, by about ``sqrt(bins / n)`` times a
    constant: compare only numbers of the same n and bins.

    Args:
      probabilities: of the mean prediction, ``samples.mean(0)``, each row summing to 1.
      labels: class numbers.
      bins: how many, at least 1.

    Returns:
      From 0 to 1.

    Raises:
      TypeError, ValueError: if a row is not of probabilities, labels are not one class number for
        each, or bins is below 1.

    References:
      Nguyen & O'Connor, Posterior Calibration and Exploratory Analysis for Natural Language
      Processing Models, 2015; Nixon et al., Measuring Calibration in Deep Learning, 2019.

    >>> import jax.numpy as jnp
    >>> from jaxdrop import mc
    >>> p = jnp.array([[0.9, 0.1], [0.8, 0.2]])
    >>> round(float(mc.adaptive_calibration_error(p, jnp.array([0, 1]), bins=2)), 3)
    0.45
    """
    p = check_probabilities(probabilities, 2)
    right = (p.argmax(-1) == check_labels(labels, p)).astype(p.dtype).ravel()
    bins = check_count(bins, "bins", "how many bins of equal counts")
    confidence = p.max(-1).ravel()
    rank = jnp.searchsorted(jnp.sort(confidence), confidence)
    starts = np.array([i * confidence.size // bins for i in range(1, bins)], np.int32)
    bin_of = jnp.searchsorted(starts, rank.astype(jnp.int32), side="right")
    return _sum_of_gaps(right - confidence, bin_of, bins) / jnp.asarray(confidence.size, p.dtype)


def classwise_calibration_error(
    probabilities: Probabilities, labels: Int[AnyArray, " batch"], *, bins: int = 15
) -> Float[Array, ""]:
    """Compute the mean over classes of the gap between a class's probability and its frequency.

    ``sum_c sum_i n_ci / (n C) |frequency_ci - mean probability_ci|``, where bin i of class c holds
    the examples with ``i / bins < p_c <= (i + 1) / bins``, and its frequency is the share of them
    whose label is c

    It also sees probabilities of classes that are not the most probable. Most of them are near 0,
    in a bin with a small gap, so that with more classes it becomes smaller: compare only numbers of
    the same classes, n and bins. Even for a perfectly calibrated classifier it is above 0.

    Args:
      probabilities, labels, bins: as in ``adaptive_calibration_error``; the bins have equal width.

    Returns:
      From 0 to ``2 / classes`` (0 for one class).

    Raises:
      TypeError, ValueError: as ``adaptive_calibration_error``.

    References:
      Nixon et al., Measuring Calibration in Deep Learning, 2019 (their static calibration error);
      Kull et al., Beyond Temperature Scaling, 2019.

    >>> import jax.numpy as jnp
    >>> from jaxdrop import mc
    >>> p = jnp.array([[0.75, 0.25], [0.75, 0.25]])
    >>> float(mc.classwise_calibration_error(p, jnp.array([0, 1])))
    0.25
    """
    p = check_probabilities(probabilities, 2)
    labels = check_labels(labels, p)
    bins = check_count(bins, "bins", "how many bins of equal width")
    gap = jax.nn.one_hot(labels, p.shape[-1], dtype=p.dtype) - p
    classes = jnp.arange(p.shape[-1], dtype=jnp.int32)
    place = bin_numbers(p, bins) + jnp.int32(bins) * classes.reshape((1,) * (p.ndim - 1) + (-1,))
    total = _sum_of_gaps(gap.ravel(), place.ravel(), bins * p.shape[-1])
    return total / jnp.asarray(p.size, p.dtype)


def _sum_of_gaps(gaps: Any, bin_of: Any, bins: int) -> jax.Array:
    """Return ``sum_i |sum of the gaps in bin i|``, which is ``n_i`` times a gap of means."""
    return jnp.abs(jax.ops.segment_sum(gaps, bin_of, bins)).sum()
