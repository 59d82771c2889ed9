"""variational_dropout: Gaussian dropout whose variance is learned (Kingma et al. 2015)."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact

from jaxdrop._core.annotations import AnyArray, Flag, MeshAxes
from jaxdrop._core.broadcast import with_rank
from jaxdrop._core.checks import (
    check_broadcast,
    check_deterministic,
    check_input,
    check_real_values,
)
from jaxdrop._core.key import AnyKey, check_key
from jaxdrop._core.mesh import placed
from jaxdrop._core.mode import choose
from jaxdrop._core.noise import noise_dtype
from jaxdrop._functional.gaussian_dropout import multiply_noise


def variational_dropout(
    key: AnyKey | None,
    x: Inexact[AnyArray, "..."],
    log_alpha: Any,
    *,
    deterministic: Flag = False,
    mesh_axes: MeshAxes = (),
) -> Inexact[Array, "..."]:
    """Multiply by Gaussian noise whose variance is learned.

    ``y = x (1 + sqrt(alpha) e)``, e standard normal, alpha = min(exp(log_alpha), 1)

    Add ``jaxdrop.variational.kl_divergence(log_alpha, "kingma")`` to the loss, times the number of
    weights that the noise stands for divided by the number of examples.

    Args:
      key: a random key; may be None when deterministic is True.
      x: floating array of any shape.
      log_alpha: logarithm of the noise's variance, a scalar or an array that broadcasts against x
        (per unit, for instance). Gradients flow to it. Dropout at a given rate has
        alpha = rate / (1 - rate). Above 0 it is clipped, since the prior's approximation ends
        there, and its gradient is 0, so that a step beyond 0 is not undone: project a parameter
        back with ``jnp.minimum(log_alpha, 0)`` after each step.
      deterministic: True for test time: x is returned.
      mesh_axes: inside ``shard_map``, the mesh axes that split x, as in ``dropout``.

    Returns:
      Array like x. E[y] = x, Var[y] = alpha x**2.

    Raises:
      TypeError: if log_alpha is not a real number or array of floats.
      ValueError: if log_alpha is NaN or does not broadcast against x, or key is None in training.

    Reference:
      Kingma, Salimans & Welling, Variational Dropout and the Local Reparameterization Trick, 2015.

    >>> import jax, jax.numpy as jnp, jaxdrop
    >>> key, x = jax.random.key(0), jnp.ones((2, 4))
    >>> g = jax.grad(lambda a: (jaxdrop.variational_dropout(key, x, a) ** 2).sum())(-1.0)
    >>> bool(g != 0)
    True
    """
    x = check_input(x, "variational_dropout")
    names = placed(mesh_axes, key, x)
    test_mode = check_deterministic(deterministic)
    if test_mode is True:
        return x
    key = check_key(key, "variational_dropout")
    half = 0.5 * jnp.minimum(_check_log_alpha(log_alpha, x), 0)
    half = with_rank(half, x.ndim)
    return choose(test_mode, x, multiply_noise(key, x, 1, jnp.exp(half), names))


def _check_log_alpha(value: Any, x: jax.Array) -> jax.Array:
    """Return it in the dtype of the noise, or raise an error."""
    expected = "expected the logarithm of the noise's variance: a number, or an array of floats"
    host = check_real_values(value, "log_alpha", expected)
    if host is not None and np.isnan(host).any():
        raise ValueError(f"got log_alpha=nan; {expected}")
    array = jnp.asarray(value)
    check_broadcast(array.shape, x.shape, "log_alpha", f"x of shape {x.shape}")
    return array.astype(noise_dtype(x))
