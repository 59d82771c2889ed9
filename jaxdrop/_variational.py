"""Variational dropout: a learned Gaussian noise for every unit or weight, and its price in nats.

Kingma, Salimans & Welling 2015 multiply by noise of variance alpha. Molchanov, Ashukha & Vetrov
2017 give every weight its own alpha, without an upper bound, and most turn out to be noise.
"""

import functools
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Inexact

from jaxdrop._check import check_deterministic, check_input
from jaxdrop._dropout import AnyKey
from jaxdrop._follow import follow
from jaxdrop._gaussian import multiply_noise, noise_dtype
from jaxdrop._key import check_key
from jaxdrop._mode import choose
from jaxdrop._normal import standard_normal

# Molchanov et al. 2017, equation 14, and Kingma et al. 2015, appendix C.
K1, K2, K3 = 0.63576, 1.87320, 1.48695
C1, C2, C3 = 1.16145124, -1.50204118, 0.58629921
PRUNE_AT = 3.0  # of log alpha: the binary dropout rate alpha / (1 + alpha) is above 0.95


def variational_dropout(
    key: AnyKey | None,
    x: Inexact[Array, "..."],
    log_alpha: Any,
    *,
    deterministic: Any = False,
) -> Inexact[Array, "..."]:
    """Multiply by Gaussian noise whose variance is learned.

    ``y = x (1 + sqrt(alpha) e)``, e standard normal, alpha = min(exp(log_alpha), 1)

    Add ``variational_kl(log_alpha, "kingma")`` to the loss, times the number of weights that the
    noise stands for divided by the number of examples.

    Args:
      key: a random key; may be None when deterministic is True.
      x: floating array of any shape.
      log_alpha: logarithm of the noise's variance, a scalar or an array that broadcasts against x
        (per unit, for instance). Gradients flow to it. Dropout at a given rate has
        alpha = rate / (1 - rate). Above 0 it is clipped: the prior's approximation ends there.
      deterministic: True for test time: x is returned.

    Returns:
      Array like x. E[y] = x, Var[y] = alpha x**2.

    Raises:
      TypeError, ValueError: with what was given and what is expected.

    Reference:
      Kingma, Salimans & Welling, Variational Dropout and the Local Reparameterization Trick, 2015.

    >>> import jax, jax.numpy as jnp, jaxdrop
    >>> key, x = jax.random.key(0), jnp.ones((2, 4))
    >>> g = jax.grad(lambda a: (jaxdrop.variational_dropout(key, x, a) ** 2).sum())(-1.0)
    >>> bool(g != 0)
    True
    """
    x = check_input(x, "variational_dropout")
    test_mode = check_deterministic(deterministic)
    if test_mode is True:
        return x
    key = check_key(key, "variational_dropout")
    half = 0.5 * jnp.minimum(jnp.asarray(log_alpha, noise_dtype(x)), 0)
    half = half.reshape((1,) * (x.ndim - half.ndim) + half.shape)
    if half.ndim > x.ndim or any(a not in (1, b) for a, b in zip(half.shape, x.shape, strict=True)):
        raise ValueError(
            f"log_alpha of shape {jnp.shape(log_alpha)} does not broadcast against x of shape "
            f"{x.shape}"
        )
    return choose(test_mode, x, multiply_noise(key, x, 1, jnp.exp(half)))


def variational_dense(
    key: AnyKey | None,
    x: Inexact[Array, "*batch inputs"],
    kernel: Inexact[Array, "inputs outputs"],
    log_sigma2: Inexact[Array, "inputs outputs"],
    *,
    deterministic: Any = False,
    threshold: float = PRUNE_AT,
) -> Inexact[Array, "*batch outputs"]:
    """Multiply by a kernel of independent Gaussian weights, by sampling the outputs.

    ``y = x @ m + sqrt(x**2 @ exp(log_sigma2)) e``, e standard normal: the local reparametrisation.
    It draws one number per output instead of one per example and weight, and the variance of the
    gradient falls as the batch grows.

    Args:
      key: a random key; may be None when deterministic is True.
      x: inputs; all dimensions but the last count as examples.
      kernel: means m of the weights.
      log_sigma2: logarithms of their variances; the paper starts at -10.
      deterministic: True for test time: the means, those at or beyond ``threshold`` pruned.
      threshold: of log alpha = log(sigma**2 / m**2).

    Returns:
      Array of shape (*batch, outputs), E[y] = x @ m, Var[y] = x**2 @ sigma**2. Outputs are
      independent given x, as they are with one weight sample per example. Test mode differs from
      the mean by the pruned weights.

    Raises:
      TypeError, ValueError: with what was given and what is expected.

    Reference:
      Molchanov, Ashukha & Vetrov, Variational Dropout Sparsifies Deep Neural Networks, 2017.

    >>> import jax, jax.numpy as jnp, jaxdrop
    >>> x, m, s = jnp.ones((4, 3)), jnp.ones((3, 2)), jnp.full((3, 2), -10.0)
    >>> jaxdrop.variational_dense(jax.random.key(0), x, m, s).shape
    (4, 2)
    """
    return variational_linear(
        key, x, kernel, log_sigma2, jnp.matmul, deterministic=deterministic, threshold=threshold
    )


def variational_linear(
    key: AnyKey | None,
    x: Inexact[Array, "..."],
    kernel: Inexact[Array, "..."],
    log_sigma2: Inexact[Array, "..."],
    linear: Callable[[jax.Array, jax.Array], jax.Array],
    *,
    deterministic: Any = False,
    threshold: float = PRUNE_AT,
) -> Inexact[Array, "..."]:
    """``variational_dense`` for any bilinear ``linear(x, kernel)``, such as a convolution.

    In a convolution the outputs share weights; sampling each output by itself gives every one its
    right mean and variance, and leaves out the correlations, as the paper does.

    >>> import jax, jax.numpy as jnp, jaxdrop
    >>> conv = lambda x, w: jax.lax.conv_general_dilated(
    ...     x, w, (1,), "SAME", dimension_numbers=("NWC", "WIO", "NWC"))
    >>> x, m = jnp.ones((2, 8, 3)), jnp.ones((5, 3, 4))
    >>> jaxdrop.variational_linear(jax.random.key(0), x, m, jnp.full_like(m, -10.0), conv).shape
    (2, 8, 4)
    """
    x, kernel = check_input(x, "variational_linear"), check_input(kernel, "variational_linear")
    log_sigma2 = check_input(log_sigma2, "variational_linear")
    if log_sigma2.shape != kernel.shape:
        raise ValueError(
            f"got log_sigma2 of shape {log_sigma2.shape} for a kernel of shape {kernel.shape}; "
            "every weight has its own variance"
        )
    test_mode = check_deterministic(deterministic)
    if test_mode is True:
        return linear(x, prune(kernel, log_sigma2, threshold=threshold))
    key = check_key(key, "variational_linear")
    variance = linear(jnp.square(x), jnp.exp(log_sigma2))
    # sqrt has an infinite slope at 0, which is the variance where every input is 0.
    y = add_noise(key, linear(x, kernel), jnp.sqrt(jnp.maximum(variance, 1e-16)))
    if test_mode is False:
        return y
    return jnp.where(test_mode, linear(x, prune(kernel, log_sigma2, threshold=threshold)), y)


@functools.partial(jax.checkpoint, prevent_cse=False)
def add_noise(key: Any, mean: jax.Array, deviation: jax.Array) -> jax.Array:
    """``mean + deviation e``; the backward pass draws e again instead of storing it."""
    return mean + deviation * follow(standard_normal(key, mean.shape, mean.dtype), mean)


def log_alpha(
    kernel: Inexact[Array, "..."], log_sigma2: Inexact[Array, "..."]
) -> Inexact[Array, "..."]:
    """Compute ``log(sigma**2 / m**2)`` of every weight, clipped to [-8, 8] as the authors do.

    Above about 3 a weight is noise: what a Gaussian makes of a rate above 0.95.
    """
    return jnp.clip(log_sigma2 - jnp.log(jnp.square(kernel) + 1e-8), -8.0, 8.0)


def variational_kl(
    log_alpha: Inexact[Array, "..."], prior: Literal["molchanov", "kingma"] = "molchanov"
) -> Float[Array, ""]:
    """Sum the divergence from the log-uniform prior over all entries, in nats.

    - "molchanov", any alpha, the constant chosen so that it falls to 0 as alpha grows:
      ``k1 - k1 sigmoid(k2 + k3 log alpha) + log(1 + 1 / alpha) / 2``
    - "kingma", alpha <= 1 only, up to a constant:
      ``-(log(alpha) / 2 + c1 alpha + c2 alpha**2 + c3 alpha**3)``

    Returns:
      Scalar, to be added to a loss that is a sum over examples, or divided by their number for a
      mean. The paper raises its weight from 0 to 1 over the first epochs.

    Reference:
      Molchanov et al. 2017, equation 14 (k1 = 0.63576, k2 = 1.87320, k3 = 1.48695); Kingma et al.
      2015, appendix C (c1 = 1.16145124, c2 = -1.50204118, c3 = 0.58629921).

    >>> import jax.numpy as jnp, jaxdrop
    >>> float(jaxdrop.variational_kl(jnp.array(8.0))) < 0.001
    True
    """
    a = check_input(log_alpha, "variational_kl")
    if prior == "molchanov":
        return jnp.sum(K1 - K1 * jax.nn.sigmoid(K2 + K3 * a) + 0.5 * jax.nn.softplus(-a))
    if prior == "kingma":
        alpha = jnp.exp(jnp.minimum(a, 0))
        return -jnp.sum(0.5 * jnp.minimum(a, 0) + alpha * (C1 + alpha * (C2 + alpha * C3)))
    raise ValueError(f"got {prior=}, expected 'molchanov' or 'kingma'")


def prune(
    kernel: Inexact[Array, "..."],
    log_sigma2: Inexact[Array, "..."],
    *,
    threshold: float = PRUNE_AT,
) -> Inexact[Array, "..."]:
    """Set the weights that are noise, log alpha at threshold or above, to zero.

    >>> import jax.numpy as jnp, jaxdrop
    >>> jaxdrop.prune(jnp.array([1.0, 0.01]), jnp.array([-4.0, -4.0])).tolist()
    [1.0, 0.0]
    """
    noise = pruned(kernel, log_sigma2, threshold=threshold)
    return jnp.where(noise, jnp.zeros((), kernel.dtype), kernel)


def pruned(
    kernel: Inexact[Array, "..."],
    log_sigma2: Inexact[Array, "..."],
    *,
    threshold: float = PRUNE_AT,
) -> Bool[Array, "..."]:
    """Say which weights ``prune`` removes; the mean of it is the sparsity."""
    return log_alpha(kernel, log_sigma2) >= threshold
