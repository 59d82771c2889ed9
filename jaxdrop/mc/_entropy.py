"""Entropies of a classifier's samples: how uncertain it is, and how much of that more data removes.

All in float32 at least, whatever the dtype of the probabilities.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxdrop._core.annotations import AnyArray
from jaxdrop.mc._probabilities import check_probabilities

Samples = Float[AnyArray, "samples batch classes"]


def predictive_entropy(probabilities: Samples) -> Float[Array, " batch"]:
    """Compute the entropy of the mean prediction: the total uncertainty.

    ``H[sum_t p_t / T]``, ``H[p] = -sum_c p_c log p_c``

    Args:
      probabilities: of each sample, example and class, the classes summing to 1.

    Returns:
      Nats, from 0 to log(classes). The gradient towards a probability of 0, infinite by the
      formula, is 0.

    Raises:
      TypeError, ValueError: if it is not an array of probabilities of three dimensions or more.

    Reference:
      Gal, Uncertainty in Deep Learning, 2016, section 3.3.1.

    >>> import jax.numpy as jnp
    >>> from jaxdrop import mc
    >>> at_odds = jnp.array([[[1.0, 0.0]], [[0.0, 1.0]]])  # two samples, each of them sure
    >>> round(float(mc.predictive_entropy(at_odds)[0]), 4)  # log 2
    0.6931
    """
    return _entropy(check_probabilities(probabilities, 3).mean(0))


def expected_entropy(probabilities: Samples) -> Float[Array, " batch"]:
    """Compute the mean entropy of a sample: the label noise, which more data does not remove.

    ``sum_t H[p_t] / T``

    Args:
      probabilities: as in ``predictive_entropy``.

    Returns:
      Nats, from 0 to ``predictive_entropy``.

    Reference:
      Gal, Uncertainty in Deep Learning, 2016, section 3.3.1.

    >>> import jax.numpy as jnp
    >>> from jaxdrop import mc
    >>> at_odds = jnp.array([[[1.0, 0.0]], [[0.0, 1.0]]])
    >>> float(mc.expected_entropy(at_odds)[0])
    0.0
    """
    return _entropy(check_probabilities(probabilities, 3)).mean(0)


def mutual_information(probabilities: Samples) -> Float[Array, " batch"]:
    """Compute how much a label would tell about the weights: BALD, the epistemic uncertainty.

    ``predictive_entropy - expected_entropy``

    Args:
      probabilities: as in ``predictive_entropy``.

    Returns:
      Nats, from 0 (rounding may give a little less) to log(min(samples, classes)).

    Reference:
      Houlsby et al., Bayesian Active Learning for Classification and Preference Learning, 2011.

    >>> import jax.numpy as jnp
    >>> from jaxdrop import mc
    >>> at_odds = jnp.array([[[1.0, 0.0]], [[0.0, 1.0]]])
    >>> agreed = jnp.full((2, 1, 2), 0.5)
    >>> round(float(mc.mutual_information(at_odds)[0]), 4), float(mc.mutual_information(agreed)[0])
    (0.6931, 0.0)
    """
    return predictive_entropy(probabilities) - expected_entropy(probabilities)


def variation_ratio(probabilities: Samples) -> Float[Array, " batch"]:
    """Compute the share of samples that do not vote for the most frequent class.

    ``1 - max_c #{t: argmax p_t = c} / T``

    Args:
      probabilities: as in ``predictive_entropy``. A tie within a sample goes to the lower class.

    Returns:
      From 0 to 1 - 1 / min(samples, classes).

    Reference:
      Freeman, Elementary Applied Statistics, 1965; Gal, Uncertainty in Deep Learning, 2016.

    >>> import jax.numpy as jnp
    >>> from jaxdrop import mc
    >>> at_odds = jnp.array([[[1.0, 0.0]], [[0.0, 1.0]]])
    >>> float(mc.variation_ratio(at_odds)[0])
    0.5
    """
    p = check_probabilities(probabilities, 3)
    votes = jax.nn.one_hot(p.argmax(-1), p.shape[-1], dtype=p.dtype)
    return 1 - votes.mean(0).max(-1)


def max_probability(probabilities: Samples) -> Float[Array, " batch"]:
    """Compute the confidence: the largest probability of the mean prediction.

    ``max_c sum_t p_tc / T``

    Args:
      probabilities: as in ``predictive_entropy``.

    Returns:
      From 1 / classes to 1; the larger, the surer.

    Reference:
      Hendrycks & Gimpel, A Baseline for Detecting Misclassified and Out-of-Distribution Examples,
      2017.

    >>> import jax.numpy as jnp
    >>> from jaxdrop import mc
    >>> float(mc.max_probability(jnp.array([[[1.0, 0.0]], [[0.5, 0.5]]]))[0])
    0.75
    """
    return check_probabilities(probabilities, 3).mean(0).max(-1)


def _entropy(p: Any) -> jax.Array:
    # A processor may treat a subnormal p as 0, and 0 log 0 as NaN.
    nothing = jnp.abs(p) < jnp.finfo(p.dtype).tiny
    return -jnp.where(nothing, 0, p * jnp.log(jnp.where(nothing, 1, p))).sum(-1)
