"""Risk against coverage: what is wrong among the predictions that a model is surest of."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jax.typing import ArrayLike

from jaxdrop._core.checks import array_of
from jaxdrop.mc._out_of_distribution import check_scores


class RiskCoverage(NamedTuple):
    """Selective prediction: a point for each number of examples that are answered, from 1 on."""

    coverage: np.ndarray  # float64 [examples], the share that is answered: 1 / n, 2 / n ... 1
    risk: np.ndarray  # float64 [examples], the mean loss of those


def risk_coverage(
    uncertainty: ArrayLike | Sequence[float], loss: ArrayLike | Sequence[float]
) -> RiskCoverage:
    """Compute the mean loss of the k least uncertain examples, for every k.

    ``coverage_k = k / n``, ``risk_k = sum_{i <= k} loss_(i) / k``, (i) in ascending uncertainty

    A model that abstains when it is unsure has the risk at its coverage. Examples of equal
    uncertainty stand for each other: each has the mean of their losses, which is the expectation
    over their orders.

    Args:
      uncertainty: of each example, such as ``predictive_entropy``; any shape. For a confidence,
        ``max_probability``, give its negative.
      loss: of each example, of the same shape: ``p.argmax(-1) != labels``, or any real number.

    Returns:
      ``RiskCoverage(coverage, risk)``, in float64 on the host; the last risk is the mean loss.

    Raises:
      TypeError, ValueError: if there are no examples, one is not a real number, or there are not as
        many losses as uncertainties.

    Reference:
      Geifman & El-Yaniv, Selective Classification for Deep Neural Networks, 2017.

    >>> from jaxdrop import mc
    >>> mc.risk_coverage([0.1, 0.2, 0.7, 0.9], [0, 0, 1, 1]).risk.round(2).tolist()
    [0.0, 0.0, 0.33, 0.5]
    """
    scores = check_scores(uncertainty, "uncertainty")
    losses = _check_losses(loss)
    if len(losses) != len(scores):
        raise ValueError(
            f"got {len(losses)} losses, of shape {np.shape(loss)}, and uncertainty of shape "
            f"{np.shape(uncertainty)}; expected one loss for each"
        )
    _, group = np.unique(scores, return_inverse=True)
    mean = np.bincount(group, losses) / np.bincount(group)
    count = np.arange(1, len(scores) + 1)
    return RiskCoverage(count / len(scores), np.cumsum(mean[np.sort(group)]) / count)


def aurc(uncertainty: ArrayLike | Sequence[float], loss: ArrayLike | Sequence[float]) -> float:
    """Compute the area under the curve of risk against coverage: its mean over all coverages.

    ``sum_k risk_k / n``

    The smaller, the better. It falls with the loss itself as well as with how well the uncertainty
    orders it; an uncertainty that says nothing about the loss has the mean loss.

    Args:
      uncertainty, loss: as in ``risk_coverage``.

    Returns:
      In the units of the loss; for errors from 0 to 1.

    Raises:
      TypeError, ValueError: as ``risk_coverage``.

    Reference:
      Geifman, Uziel & El-Yaniv, Bias-Reduced Uncertainty Estimation for Deep Neural Classifiers,
      2019.

    >>> from jaxdrop import mc
    >>> round(mc.aurc([0.1, 0.2, 0.7, 0.9], [0, 0, 1, 1]), 4)  # (0 + 0 + 1/3 + 1/2) / 4
    0.2083
    """
    return float(risk_coverage(uncertainty, loss).risk.mean())


def _check_losses(loss: Any) -> np.ndarray:
    array = array_of(loss, "loss", "expected a real number or a bool for each example")
    if array.dtype == bool:
        return np.asarray(array, np.float64).ravel()
    return check_scores(loss, "loss")
