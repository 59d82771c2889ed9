"""variational_dense: every weight has its own learned noise, and most weights end up as noise.

Molchanov, Ashukha & Vetrov 2017 give every weight its own alpha, without an upper bound.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact

from jaxdrop._core.annotations import AnyArray, Flag, MeshAxes
from jaxdrop._core.broadcast import broadcast_like
from jaxdrop._core.checks import check_deterministic, check_real_input
from jaxdrop._core.key import AnyKey, check_key
from jaxdrop._core.mesh import Names, placed
from jaxdrop._core.noise import noise_dtype
from jaxdrop._core.normal import standard_normal
from jaxdrop._functional.variational_kl import PRUNE_AT, check_threshold, prune


def variational_dense(
    key: AnyKey | None,
    x: Inexact[AnyArray, "*batch inputs"],
    kernel: Inexact[AnyArray, "inputs outputs"],
    log_sigma2: Inexact[AnyArray, "inputs outputs"],
    *,
    deterministic: Flag = False,
    threshold: float = PRUNE_AT,
    mesh_axes: MeshAxes = (),
) -> Inexact[Array, "*batch outputs"]:
    """Multiply by a kernel of independent Gaussian weights, by sampling the outputs.

    ``y = x @ m + sqrt(x**2 @ exp(log_sigma2)) e``, e standard normal: the local reparametrisation.
    It draws one number per output instead of one per example and weight, and the variance of the
    gradient falls as the batch grows.

    Args:
      key: a random key; may be None when deterministic is True.
      x: real inputs; all dimensions but the last count as examples.
      kernel: means m of the weights.
      log_sigma2: logarithms of their variances; the paper starts at -10.
      deterministic: True for test time: the means, those at or beyond ``threshold`` pruned.
      threshold: of log alpha = log(sigma**2 / m**2).
      mesh_axes: inside ``shard_map``, the mesh axes that split the result, as in ``dropout``; each
        shard has the whole sum over the inputs.

    Returns:
      Array of shape ``(*batch, outputs)``, E[y] = x @ m, Var[y] = x**2 @ sigma**2, the variance
      computed in float32 at least. Outputs are independent given x, as they are with one weight
      sample per example. Test mode differs from the mean by the pruned weights.

    Raises:
      TypeError: if x, kernel or log_sigma2 is not a real floating array.
      ValueError: if their shapes do not fit together, or key is None in training.

    Not for: training without ``jaxdrop.variational.kl_divergence`` in the
    loss, which lets every variance go to 0.

    Reference:
      Molchanov, Ashukha & Vetrov, Variational Dropout Sparsifies Deep Neural Networks, 2017.

    >>> import jax, jax.numpy as jnp, jaxdrop
    >>> x, m = jnp.ones((20_000, 9)), jnp.ones((9, 1))
    >>> y = jaxdrop.variational_dense(jax.random.key(0), x, m, jnp.full_like(m, jnp.log(4.0)))
    >>> f"{y.mean():.0f} {y.std():.0f}"
    '9 6'
    """
    x, kernel, log_sigma2 = check_weights(x, kernel, log_sigma2, "variational_dense")
    if kernel.ndim != 2 or x.shape[-1:] != kernel.shape[:1]:
        raise ValueError(
            f"got x of shape {x.shape} and a kernel of shape {kernel.shape}; variational_dense "
            "multiplies (..., inputs) by (inputs, outputs)"
        )
    arrays = (x, kernel, log_sigma2)
    return sample(key, arrays, jnp.matmul, deterministic, threshold, mesh_axes, "variational_dense")


def check_weights(
    x: Any, kernel: Any, log_sigma2: Any, caller: str
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return the three as real arrays, or raise an error."""
    why = "since its noise is real: call it for real and imaginary part, each with its own key"
    x = check_real_input(x, caller, "x", why)
    kernel = check_real_input(kernel, caller, "kernel", why)
    log_sigma2 = check_real_input(log_sigma2, caller, "log_sigma2", why)
    if log_sigma2.shape != kernel.shape:
        raise ValueError(
            f"got log_sigma2 of shape {log_sigma2.shape} for a kernel of shape {kernel.shape}; "
            "every weight has its own variance"
        )
    return x, kernel, log_sigma2


def sample(
    key: Any,
    arrays: tuple[jax.Array, jax.Array, jax.Array],
    linear: Callable[[jax.Array, jax.Array], jax.Array],
    deterministic: Any,
    threshold: float,
    mesh_axes: MeshAxes,
    caller: str,
) -> jax.Array:
    """Sample the outputs of ``linear``, or in test mode compute them from the pruned means."""
    x, kernel, log_sigma2 = arrays
    test_mode = check_deterministic(deterministic)
    check_threshold(threshold)
    if test_mode is True:
        y = linear(x, prune(kernel, log_sigma2, threshold=threshold))
        placed(mesh_axes, None, y)
        return y
    key = check_key(key, caller)
    mean = linear(x, kernel)
    names = placed(mesh_axes, key, mean)
    wide = noise_dtype(x)  # half precision holds no 1e-16, nor squares beyond 65504
    variance = linear(jnp.square(x.astype(wide)), jnp.exp(log_sigma2.astype(wide)))
    # sqrt has an infinite slope at 0, which is the variance where every input is 0.
    y = add_noise(key, mean, jnp.sqrt(jnp.maximum(variance, 1e-16)), names)
    if test_mode is False:
        return y
    return jnp.where(test_mode, linear(x, prune(kernel, log_sigma2, threshold=threshold)), y)


@functools.partial(jax.jit, static_argnames="names", inline=True)
@functools.partial(jax.checkpoint, prevent_cse=False, static_argnums=3)
def add_noise(key: Any, mean: jax.Array, deviation: jax.Array, names: Names) -> jax.Array:
    """``mean + deviation e``; the backward pass draws e again instead of storing it."""
    noise = broadcast_like(standard_normal(key, mean.shape, deviation.dtype, mesh_axes=names), mean)
    return (mean.astype(noise.dtype) + deviation * noise).astype(mean.dtype)
