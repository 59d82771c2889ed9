"""The regulariser of variational dropout, and which weights it has turned into noise."""

import math
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Inexact

from jaxdrop._core.annotations import AnyArray
from jaxdrop._core.checks import check_choice, check_number, check_real_input
from jaxdrop._core.noise import noise_dtype

# Molchanov et al. 2017, equation 14, and Kingma et al. 2015, appendix C.
K1, K2, K3 = 0.63576, 1.87320, 1.48695
C1, C2, C3 = 1.16145124, -1.50204118, 0.58629921
_WHY = "since its weights are"
PRUNE_AT = 3.0  # of log alpha: the binary dropout rate alpha / (1 + alpha) is above 0.95


def log_alpha(
    kernel: Inexact[AnyArray, "..."], log_sigma2: Inexact[AnyArray, "..."]
) -> Float[Array, "..."]:
    """Compute ``log(sigma**2 / m**2)`` of every weight, clipped to [-8, 8] as the authors do.

    Above about 3 a weight is noise: its dropout rate, alpha / (1 + alpha), is above 0.95.

    Returns:
      Array like kernel, in float32 at least: half precision cannot hold the 1e-8 that keeps the
      logarithm of a weight of 0 finite.

    >>> import jax.numpy as jnp, jaxdrop
    >>> jaxdrop.variational.log_alpha(jnp.ones(2), jnp.array([-2.0, 3.0])).tolist()
    [-2.0, 3.0]
    """
    kernel = check_real_input(kernel, "log_alpha", "kernel", _WHY)
    log_sigma2 = check_real_input(log_sigma2, "log_alpha", "log_sigma2", _WHY)
    if log_sigma2.shape != kernel.shape:
        raise ValueError(
            f"got log_sigma2 of shape {log_sigma2.shape} for a kernel of shape {kernel.shape}; "
            "log_alpha takes one variance for every weight"
        )
    wide = noise_dtype(kernel)
    square = jnp.square(kernel.astype(wide)) + 1e-8
    return jnp.clip(log_sigma2.astype(wide) - jnp.log(square), -8.0, 8.0)


def kl_divergence(
    log_alpha: Inexact[AnyArray, "..."], prior: Literal["molchanov", "kingma"] = "molchanov"
) -> Float[Array, ""]:
    """Sum the divergence from the log-uniform prior over all entries, in nats.

    - "molchanov", any alpha, the constant chosen so that it falls to 0 as alpha grows:
      ``k1 - k1 sigmoid(k2 + k3 log alpha) + log(1 + 1 / alpha) / 2``
    - "kingma", alpha <= 1 only, up to a constant:
      ``-(log(alpha) / 2 + c1 alpha + c2 alpha**2 + c3 alpha**3)``

    Returns:
      Scalar in float32 at least, to be added to a loss that is a sum over examples, or divided by
      their number for a mean. The paper raises its weight from 0 to 1 over the first epochs.

    Raises:
      ValueError: if prior is neither.

    Reference:
      Molchanov et al. 2017, equation 14 (k1 = 0.63576, k2 = 1.87320, k3 = 1.48695); Kingma et al.
      2015, appendix C (c1 = 1.16145124, c2 = -1.50204118, c3 = 0.58629921).

    >>> import jax.numpy as jnp, jaxdrop
    >>> float(jaxdrop.variational.kl_divergence(jnp.array(8.0))) < 0.001
    True
    """
    check_choice(prior, "prior", ("molchanov", "kingma"))
    a = check_real_input(log_alpha, "kl_divergence", "log_alpha", _WHY)
    a = a.astype(noise_dtype(a))
    if prior == "molchanov":
        return jnp.sum(K1 - K1 * jax.nn.sigmoid(K2 + K3 * a) + 0.5 * jax.nn.softplus(-a))
    alpha = jnp.exp(jnp.minimum(a, 0))
    return -jnp.sum(0.5 * jnp.minimum(a, 0) + alpha * (C1 + alpha * (C2 + alpha * C3)))


def prune(
    kernel: Inexact[AnyArray, "..."],
    log_sigma2: Inexact[AnyArray, "..."],
    *,
    threshold: float = PRUNE_AT,
) -> Inexact[Array, "..."]:
    """Set the weights that are noise, log alpha at threshold or above, to zero.

    >>> import jax.numpy as jnp, jaxdrop
    >>> jaxdrop.variational.prune(jnp.array([1.0, 0.01]), jnp.array([-4.0, -4.0])).tolist()
    [1.0, 0.0]
    """
    noise = pruned(kernel, log_sigma2, threshold=threshold)
    kernel = jnp.asarray(kernel)
    return jnp.where(noise, jnp.zeros((), kernel.dtype), kernel)


def pruned(
    kernel: Inexact[AnyArray, "..."],
    log_sigma2: Inexact[AnyArray, "..."],
    *,
    threshold: float = PRUNE_AT,
) -> Bool[Array, "..."]:
    """Say which weights ``prune`` removes; its mean is the sparsity."""
    check_threshold(threshold)
    return log_alpha(kernel, log_sigma2) >= threshold


def check_start(init_log_sigma2: Any) -> Any:
    """Return where a layer's log_sigma2 starts, or raise an error."""
    expected = "a finite number, the logarithm of a variance, such as -10.0"
    return check_number(init_log_sigma2, "init_log_sigma2", expected, math.isfinite, traced=False)


def check_threshold(threshold: Any) -> None:
    """Raise an error if threshold is not a number: against NaN, no weight would ever be noise."""
    expected = f"a number that log alpha is compared with, such as {PRUNE_AT}"
    check_number(threshold, "threshold", expected, lambda t: not math.isnan(t))
