"""auroc: how well a score tells out-of-distribution inputs from those like the training data."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jax.typing import ArrayLike

from jaxdrop._core.checks import array_of, is_real


def auroc(inside: ArrayLike | Sequence[float], outside: ArrayLike | Sequence[float]) -> float:
    """Compute the area under the ROC curve of a score that should be larger outside.

    ``P(outside > inside) + P(outside = inside) / 2``, over all pairs

    Args:
      inside: scores of inputs like those of training, such as ``mutual_information``; any shape.
      outside: scores of the others. For a score that is smaller outside, ``max_probability``,
        negate both.

    Returns:
      From 0 to 1; 0.5 is guessing. It is scikit-learn's ``roc_auc_score``.

    Raises:
      ImportError: if scikit-learn is not installed.
      TypeError, ValueError: if there are no scores, or one is not a real number.

    Reference:
      Hendrycks & Gimpel, A Baseline for Detecting Misclassified and Out-of-Distribution Examples,
      2017.

    >>> from jaxdrop import mc
    >>> mc.auroc([0.1, 0.2], [0.2, 0.9])
    0.875
    """
    try:
        from sklearn.metrics import roc_auc_score
    except ImportError as error:
        raise ImportError("auroc is scikit-learn's; type: pip install scikit-learn") from error
    scores = [check_scores(inside, "inside"), check_scores(outside, "outside")]
    labels = np.repeat([0, 1], [len(s) for s in scores])
    # Ranks are enough; scikit-learn refuses infinite scores, whose ranks are finite.
    _, ranks = np.unique(np.concatenate(scores), return_inverse=True)
    return float(roc_auc_score(labels, ranks))


def check_scores(scores: Any, name: str) -> np.ndarray:
    """Return the scores in float64, in one dimension, or raise an error."""
    expected = "expected real numbers, one at least and none of them NaN"
    dtype = array_of(scores, name, expected).dtype
    if not is_real(dtype):
        raise TypeError(f"got {name} of dtype {dtype}; {expected}")
    host = np.asarray(scores, np.float64).ravel()
    if not host.size or np.isnan(host).any():
        raise ValueError(
            f"got {host.size} scores {name}, {np.isnan(host).sum()} of them NaN; {expected}"
        )
    return host
