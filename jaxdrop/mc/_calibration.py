"""Calibration: whether a classifier that is 80% sure is right 80% of the time."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxdrop._core.annotations import AnyArray
from jaxdrop._core.checks import check_count
from jaxdrop.mc._probabilities import check_labels, check_probabilities

Probabilities = Float[AnyArray, "batch classes"]


class Reliability(NamedTuple):
    """A reliability diagram: for each bin of confidence, from 0 to 1."""

    count: Any  # int32 array; a tuple has a method of this name
    confidence: Float[Array, " bins"]  # mean confidence; NaN where the bin is empty
    accuracy: Float[Array, " bins"]  # share that is right; NaN where the bin is empty


def reliability(
    probabilities: Probabilities, labels: Int[AnyArray, " batch"], *, bins: int = 15
) -> Reliability:
    """Sort predictions by confidence into bins of equal width; compare confidence and accuracy.

    Bin i holds the examples with ``i / bins < max_c p_c <= (i + 1) / bins``.

    Args:
      probabilities: of the mean prediction, ``samples.mean(0)``, each row summing to 1.
      labels: class numbers.
      bins: how many, at least 1.

    Returns:
      ``Reliability(count, confidence, accuracy)``, each of shape [bins]. Under ``jax_debug_nans``
      call it outside of jit, which stops at the NaN of an empty bin.

    Raises:
      TypeError, ValueError: if a row is not of probabilities, labels are not one class number for
        each, or bins is below 1.

    Reference:
      Guo et al., On Calibration of Modern Neural Networks, 2017.

    >>> import jax.numpy as jnp
    >>> from jaxdrop import mc
    >>> p = jnp.array([[0.9, 0.1], [0.9, 0.1]])
    >>> mc.reliability(p, jnp.array([0, 1]), bins=2).accuracy.tolist()
    [nan, 0.5]
    """
    bars = _bars(probabilities, labels, bins)
    empty = bars.count == 0
    with jax.debug_nans(False):  # these are meant
        return Reliability(bars.count, *(jnp.where(empty, jnp.nan, mean) for mean in bars[1:]))


def _bars(probabilities: Any, labels: Any, bins: int) -> Reliability:
    """Return the diagram with means of 0 where a bin is empty."""
    p = check_probabilities(probabilities, 2)
    labels = check_labels(labels, p)
    bins = check_count(bins, "bins", "how many bins of equal width")
    confidence = p.max(-1).ravel()
    right = (p.argmax(-1) == labels).astype(p.dtype).ravel()
    member = jax.nn.one_hot(bin_numbers(confidence, bins), bins, dtype=p.dtype)
    count = member.astype(jnp.int32).sum(0)
    sums = jnp.matmul(jnp.stack([confidence, right]), member, precision="highest")
    return Reliability(count, *(sums / jnp.maximum(count, 1).astype(p.dtype)[None]))


def bin_numbers(probabilities: jax.Array, bins: int) -> jax.Array:
    """Return for each the i with ``i / bins < p <= (i + 1) / bins``; 0 is in the first bin."""
    upper = jnp.ceil(probabilities * jnp.asarray(bins, probabilities.dtype)).astype(jnp.int32)
    return jnp.clip(upper - 1, 0, bins - 1)


def expected_calibration_error(
    probabilities: Probabilities, labels: Int[AnyArray, " batch"], *, bins: int = 15
) -> Float[Array, ""]:
    """Compute the mean gap between confidence and accuracy, weighted by the bins' counts.

    ``sum_i n_i / n |accuracy_i - confidence_i|``

    Even for a perfectly calibrated classifier it is above 0, by about ``sqrt(bins / n)`` times a
    constant: compare only numbers of the same n and bins, or use ``debiased_calibration_error``.

    Args:
      probabilities, labels, bins: as in ``reliability``.

    Returns:
      From 0 to 1.

    Raises:
      TypeError, ValueError: as ``reliability``.

    Reference:
      Naeini, Cooper & Hauskrecht, Obtaining Well Calibrated Probabilities Using Bayesian Binning,
      2015; Guo et al., 2017.

    >>> import jax.numpy as jnp
    >>> from jaxdrop import mc
    >>> p = jnp.array([[0.9, 0.1], [0.9, 0.1]])
    >>> round(float(mc.expected_calibration_error(p, jnp.array([0, 1]))), 3)
    0.4
    """
    count, confidence, accuracy = _bars(probabilities, labels, bins)
    gap = jnp.abs(accuracy - confidence)
    return (gap * count.astype(gap.dtype)).sum() / count.sum().astype(gap.dtype)


def debiased_calibration_error(
    probabilities: Probabilities, labels: Int[AnyArray, " batch"], *, bins: int = 15
) -> Float[Array, ""]:
    """Compute the root mean squared gap between confidence and accuracy, corrected for chance.

    ``sqrt(max(0, sum_i n_i / n ((a_i - c_i)**2 - a_i (1 - a_i) / (n_i - 1))))``, a accuracy, c
    confidence; bins of fewer than two examples count as 0

    The second term is the sampling variance of the accuracy, so the sum under the root is unbiased
    for the squared gaps of the bins' means. It is a root mean square and not comparable with
    ``expected_calibration_error``, which is a mean of absolute gaps.

    Args:
      probabilities, labels, bins: as in ``reliability``.

    Returns:
      From 0 to 1; at 0 its gradient is 0.

    Raises:
      TypeError, ValueError: as ``reliability``.

    Reference:
      Kumar, Liang & Ma, Verified Uncertainty Calibration, 2019, section 5.

    >>> import jax.numpy as jnp
    >>> from jaxdrop import mc
    >>> p = jnp.array([[0.5, 0.5], [0.5, 0.5]])
    >>> float(mc.debiased_calibration_error(p, jnp.array([0, 1])))  # what a fair coin does
    0.0
    """
    count, confidence, accuracy = _bars(probabilities, labels, bins)
    n = count.astype(confidence.dtype)
    chance = accuracy * (1 - accuracy) / jnp.maximum(n - 1, 1)
    gap = jnp.where(count > 1, jnp.square(accuracy - confidence) - chance, 0)
    square = (gap * n).sum() / n.sum()
    # The root of 0 has no gradient; both branches are made finite.
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)
