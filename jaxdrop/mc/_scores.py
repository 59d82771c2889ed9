"""Proper scores of a classifier: negative log-likelihood and Brier."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxdrop._core.annotations import AnyArray
from jaxdrop.mc._probabilities import check_labels, check_probabilities

Probabilities = Float[AnyArray, "batch classes"]


def negative_log_likelihood(
    probabilities: Probabilities, labels: Int[AnyArray, " batch"]
) -> Float[Array, ""]:
    """Compute the mean negative log-probability of the labels.

    ``-sum_b log p_b[label_b] / B``

    Args:
      probabilities: of the mean prediction, ``samples.mean(0)``, each row summing to 1.
      labels: class numbers.

    Returns:
      Nats, from 0; infinite if a label has probability 0.

    Raises:
      TypeError, ValueError: if a row is not of probabilities, or labels are not one class number
        for each.

    Reference:
      Good, Rational Decisions, 1952.

    >>> import jax.numpy as jnp
    >>> from jaxdrop import mc
    >>> round(float(mc.negative_log_likelihood(jnp.array([[0.5, 0.5]]), jnp.array([0]))), 4)
    0.6931
    """
    p = check_probabilities(probabilities, 2)
    labels = check_labels(labels, p)
    return -jnp.log(jnp.take_along_axis(p, labels[..., None], axis=-1)).mean()


def brier_score(probabilities: Probabilities, labels: Int[AnyArray, " batch"]) -> Float[Array, ""]:
    """Compute the mean squared distance from the labels, over all classes.

    ``sum_b sum_c (p_bc - [c = label_b])**2 / B``

    Args:
      probabilities, labels: as in ``negative_log_likelihood``.

    Returns:
      From 0 to 2, Brier's own scale; scikit-learn halves it for two classes.

    Raises:
      TypeError, ValueError: as ``negative_log_likelihood``.

    Reference:
      Brier, Verification of Forecasts Expressed in Terms of Probability, 1950.

    >>> import jax.numpy as jnp
    >>> from jaxdrop import mc
    >>> float(mc.brier_score(jnp.array([[0.5, 0.5]]), jnp.array([0])))
    0.5
    """
    p = check_probabilities(probabilities, 2)
    labels = check_labels(labels, p)
    return jnp.square(p - jax.nn.one_hot(labels, p.shape[-1], dtype=p.dtype)).sum(-1).mean()
