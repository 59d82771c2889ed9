"""local_reparameterization: ``variational_dense`` for any product of inputs and weights."""

from collections.abc import Callable

import jax
from jaxtyping import Array, Inexact

from jaxdrop._core.annotations import AnyArray, Flag, MeshAxes
from jaxdrop._core.checks import check_function
from jaxdrop._core.key import AnyKey
from jaxdrop._functional.variational_dense import check_weights, sample
from jaxdrop._functional.variational_kl import PRUNE_AT


def local_reparameterization(
    key: AnyKey | None,
    x: Inexact[AnyArray, "..."],
    kernel: Inexact[AnyArray, "..."],
    log_sigma2: Inexact[AnyArray, "..."],
    linear: Callable[[jax.Array, jax.Array], jax.Array],
    *,
    deterministic: Flag = False,
    threshold: float = PRUNE_AT,
    mesh_axes: MeshAxes = (),
) -> Inexact[Array, "..."]:
    """``variational_dense`` for any bilinear ``linear(x, kernel)``, such as a convolution.

    In a convolution the outputs share weights; sampling each output by itself gives every one the
    right mean and variance, and leaves out the correlations, as the paper does. ``linear`` is
    called twice, the second time with the squares and the variances, in float32 at least.

    >>> import jax, jax.numpy as jnp, jaxdrop
    >>> conv = lambda x, w: jax.lax.conv_general_dilated(
    ...     x, w, (1,), "SAME", dimension_numbers=("NWC", "WIO", "NWC"))
    >>> x, m = jnp.ones((2, 8, 3)), jnp.ones((5, 3, 4))
    >>> key, tiny = jax.random.key(0), jnp.full_like(m, -40.0)
    >>> y = jaxdrop.variational.local_reparameterization(key, x, m, tiny, conv)
    >>> bool(jnp.allclose(y, conv(x, m)))  # a variance of almost 0
    True
    """
    check_function(linear, "linear", "local_reparameterization takes a function of x and a kernel")
    arrays = check_weights(x, kernel, log_sigma2, "local_reparameterization")
    return sample(
        key, arrays, linear, deterministic, threshold, mesh_axes, "local_reparameterization"
    )
