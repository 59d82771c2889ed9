"""Regression: predictive mean, variance and log-likelihood from samples."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxdrop._core.annotations import AnyArray
from jaxdrop._core.checks import array_of, check_number, is_real
from jaxdrop.mc._moments import Moments
from jaxdrop.mc._probabilities import widened


def regression_moments(
    samples: Float[AnyArray, "samples ..."], tau: float | Float[Array, ""]
) -> Moments:
    """Compute mean and variance of the predictive distribution.

    ``mean = sum_t y_t / T``, ``variance = 1 / tau + sum_t (y_t - mean)**2 / T``

    Args:
      samples: predictions with the samples along the first axis, in the units of y.
      tau: the precision of the observation noise, in units of ``y**-2``, above 0.

    Returns:
      ``Moments(mean, variance)``, each of one prediction's shape, in float32 at least.

    Raises:
      TypeError, ValueError: if samples is no floating array, or tau is not a number above 0.

    Reference:
      Gal & Ghahramani, Dropout as a Bayesian Approximation, 2016, section 4.

    >>> import jax.numpy as jnp
    >>> from jaxdrop import mc
    >>> mean, variance = mc.regression_moments(jnp.array([[1.0], [3.0]]), tau=4.0)
    >>> float(mean[0]), float(variance[0])
    (2.0, 1.25)
    """
    samples = widened(check_samples(samples, 1))
    tau = _check_tau(tau)
    return Moments(samples.mean(0), samples.var(0) + jnp.asarray(1 / tau, samples.dtype))


def regression_log_likelihood(
    samples: Float[AnyArray, "samples ..."],
    y: Float[AnyArray, "..."],
    tau: float | Float[Array, ""],
) -> Float[Array, "..."]:
    """Compute the predictive log-likelihood of each observation.

    ``logsumexp_t(-tau / 2 (y - y_t)**2) - log T - log(2 pi) / 2 + log(tau) / 2``

    Args:
      samples: predictions with the samples along the first axis, in the units of y.
      y: observations, shaped like one prediction.
      tau: the precision of the observation noise, in units of ``y**-2``, above 0.

    Returns:
      Array like y, in nats, in float32 at least; its mean over rows is the papers' test
      log-likelihood. By Jensen's inequality an estimate from T samples is, on average, below that
      from more.

    Raises:
      TypeError, ValueError: as ``regression_moments``, or if y is not shaped like one prediction.

    Reference:
      Gal & Ghahramani, Dropout as a Bayesian Approximation, 2016, section 4.3.

    >>> import jax.numpy as jnp
    >>> from jaxdrop import mc
    >>> ll = mc.regression_log_likelihood(jnp.zeros((5, 1)), jnp.zeros(1), tau=1.0)
    >>> round(float(ll[0]), 4)  # -log(2 pi) / 2
    -0.9189
    """
    samples = widened(check_samples(samples, 1))
    y = array_of(y, "y", "expected an array shaped like one prediction")
    if not is_real(y.dtype):
        raise TypeError(f"got y of dtype {y.dtype}, expected observations: a real array")
    if y.shape != samples.shape[1:]:
        raise ValueError(
            f"got y of shape {y.shape} and samples of shape {samples.shape}; expected y to be "
            f"shaped like one prediction, {samples.shape[1:]}"
        )
    tau = _check_tau(tau)
    wrong = jnp.square(jnp.expand_dims(y, 0).astype(samples.dtype) - samples)
    half = jnp.asarray(tau / 2, samples.dtype)
    scores = jax.nn.logsumexp(-half * wrong, axis=0)
    constant = math.log(samples.shape[0]) + math.log(2 * math.pi) / 2
    return scores - constant + jnp.log(2 * half) / 2


def check_samples(samples: Any, rank: int) -> jax.Array:
    """Return the samples as an array, or raise if they are not floating, samples first."""
    array = array_of(samples, "samples", "expected a floating array, samples first")
    if array.ndim < rank or not jnp.issubdtype(array.dtype, jnp.floating):
        raise ValueError(
            f"got samples of shape {array.shape} and dtype {array.dtype}, expected a floating "
            f"array of at least {rank} dimensions, samples first"
        )
    if array.shape[0] == 0:
        raise ValueError(f"got samples of shape {array.shape}, expected one sample at least")
    return array


def _check_tau(tau: Any) -> Any:
    expected = "a finite precision above 0, one over a variance"
    return check_number(tau, "tau", expected, lambda t: 0 < t < math.inf)
