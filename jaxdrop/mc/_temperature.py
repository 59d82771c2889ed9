"""fit_temperature: the one number by which logits are divided so that confidence is accuracy."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from jaxdrop._core.annotations import AnyArray
from jaxdrop._core.checks import array_of, known_values
from jaxdrop.mc._probabilities import check_labels


def fit_temperature(
    logits: Float[AnyArray, "batch classes"], labels: Int[AnyArray, " batch"]
) -> float:
    """Fit the temperature of a classifier on held-out rows, by maximum likelihood.

    ``T = argmin_T -sum_b log softmax(logits_b / T)[label_b]``

    The loss is convex in ``1 / T``, and T is where its slope crosses 0. Divide logits by T at
    prediction: the most probable class stays, its confidence changes. Fit on rows that the model
    was not trained on, and that you do not report on.

    Of several samples or an ensemble, calibrate the mean: its logits are
    ``jnp.log(samples_of_probabilities.mean(0))``.

    Args:
      logits: before the softmax, with classes along the last axis. A class that a row excludes has
        -inf.
      labels: class numbers.

    Returns:
      T above 0, computed in float64 on the host. Above 1 if the model was too sure.

    Raises:
      TypeError, ValueError: if logits are not real numbers that are known outside of jit, labels
        are not one possible class number for each row, or no T is best: where every label has the
        largest logit of its row (T would be 0), or the logits say no more about the labels than
        guessing does (T would be infinite).

    Reference:
      Guo et al., On Calibration of Modern Neural Networks, 2017, section 4.2.

    >>> import jax.numpy as jnp
    >>> from jaxdrop import mc
    >>> logits = jnp.array([[4.0, 0.0]] * 4)  # 98% sure
    >>> t = mc.fit_temperature(logits, jnp.array([0, 0, 0, 1]))  # and right in 3 of 4
    >>> round(float(jnp.exp(4 / t) / (1 + jnp.exp(4 / t))), 4)
    0.75
    """
    from scipy import optimize, special  # a quarter of a second, and only needed here

    z, rows = _check_logits(logits, labels)
    z = z - z.max(-1, keepdims=True)
    of_label = np.take_along_axis(z, rows[:, None], axis=-1)[:, 0]
    if (of_label == 0).all():
        raise ValueError(
            f"got logits that are largest at the label in all {len(z)} rows, so that no "
            "temperature is low enough; expected held-out rows, some of which the model has wrong"
        )
    possible = np.where(np.isinf(z), 0, z)  # what is excluded has probability 0

    def slope(inverse: float) -> float:
        p = special.softmax(np.where(np.isinf(z), -np.inf, possible * inverse), axis=-1)
        return float(((p * possible).sum(-1) - of_label).mean())

    if slope(0.0) >= 0:
        raise ValueError(
            f"got logits that are no larger at the labels of {len(z)} rows than elsewhere, on "
            "average, so that no temperature is high enough; expected labels numbered as the "
            "classes along the last axis"
        )
    high = 1 / -of_label.min()
    while slope(high) < 0:
        high *= 2
    return 1 / float(optimize.brentq(slope, 0.0, high, xtol=1e-300, rtol=1e-12))


def _check_logits(logits: Any, labels: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the logits as float64 [rows, classes] and the labels as [rows]."""
    expected = "expected a floating array [batch, classes], the logits before the softmax"
    array = array_of(logits, "logits", expected)
    if array.ndim < 2 or not jnp.issubdtype(array.dtype, jnp.floating) or not array.size:
        raise ValueError(f"got logits of shape {array.shape} and dtype {array.dtype}; {expected}")
    check_labels(labels, array)
    z, rows = known_values(logits), known_values(labels)
    if z is None or rows is None:
        name, given = ("logits", logits) if z is None else ("labels", labels)
        raise TypeError(
            f"got {name} of type {type(given).__name__}; the temperature is found on the host: "
            "give arrays whose values are known, outside of jit"
        )
    z = z.astype(np.float64).reshape(-1, z.shape[-1])
    rows = rows.astype(np.int64).ravel()
    bad = np.isnan(z) | (z == np.inf)
    bad[np.arange(len(z)), rows] |= ~np.isfinite(z[np.arange(len(z)), rows])
    if bad.any():
        b, c = np.argwhere(bad)[0]
        raise ValueError(
            f"got the logit {z[b, c]} of class {c} in row {b} with the label {rows[b]}; expected "
            "finite ones, or -inf for a class that a row excludes"
        )
    return z, rows
