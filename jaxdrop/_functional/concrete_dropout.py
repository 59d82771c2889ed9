"""concrete_dropout: dropout whose rate is learned by gradient descent (Gal et al. 2017)."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Inexact

from jaxdrop._core.annotations import AnyArray, Flag, MeshAxes, RateLike
from jaxdrop._core.bits import random_bits
from jaxdrop._core.broadcast import broadcast_like, shared_shape, with_rank
from jaxdrop._core.checks import (
    check_count,
    check_dims,
    check_input,
    check_number,
    check_real_input,
)
from jaxdrop._core.key import AnyKey
from jaxdrop._core.mesh import Names, apart_from, placed
from jaxdrop._core.mode import choose, resolve
from jaxdrop._core.rate import check_rate, check_rate_shape
from jaxdrop._core.scale import scaled

_MOST = 1 - 2.0**-24  # the float32 below 1


def concrete_dropout(
    key: AnyKey | None,
    x: Inexact[AnyArray, "..."],
    rate: RateLike,
    *,
    temperature: float = 0.1,
    broadcast_dims: Sequence[int] = (),
    deterministic: Flag = False,
    mesh_axes: MeshAxes = (),
) -> Inexact[Array, "..."]:
    """Drop elements by a smooth mask, so that a gradient reaches the rate.

    ``z = sigmoid((logit(rate) + logit(u)) / temperature)``, ``y = x (1 - z) / (1 - rate)``,
    u uniform on (0, 1)

    Add ``concrete_regularizer`` to the loss: without it, the rate goes to whatever fits the
    training data best, which is 0.

    Args:
      key: a random key; may be None when deterministic is True or rate is 0 or 1.
      x: floating array of any shape.
      rate: probability of dropping, 0 <= rate <= 1: a scalar, or an array that broadcasts against
        x. A traced one is clipped. Gradients flow to it; ``sigmoid`` of a parameter is usual.
      temperature: above 0; how smooth the mask is. Near 0 it is ``dropout``'s mask of 0 and 1 and
        the gradient of the rate has a high variance. 0.1 is the paper's.
      broadcast_dims: dimensions along which one decision is shared.
      deterministic: True for test time: x is returned.
      mesh_axes: inside ``shard_map``, the mesh axes that split x, as in ``dropout``.

    Returns:
      Array like x. P(z > 1/2) = rate to 2**-23. E[z] = rate at rate 1/2 only; elsewhere it is about
      ``rate + (pi temperature)**2 / 6 rate (1 - rate) (1 - 2 rate)``, so that the mean of y,
      x (1 - E[z]) / (1 - rate), is x only up to that order. Var[y] is that of ``dropout``,
      x**2 rate / (1 - rate), times about ``1 - temperature``.

    Not for a rate that is a hyper-parameter: ``dropout`` is exact there, and cheaper.

    Raises:
      TypeError: if temperature is an array.
      ValueError: as ``dropout``, and if temperature is not above 0 and finite.

    Reference:
      Gal, Hron & Kendall, Concrete Dropout, 2017.

    >>> import jax, jax.numpy as jnp, jaxdrop
    >>> key, x = jax.random.key(0), jnp.ones((2, 4))
    >>> g = jax.grad(lambda p: jaxdrop.concrete_dropout(key, x, p).sum())(jnp.array(0.3))
    >>> bool(g != 0)
    True
    """
    x = check_input(x, "concrete_dropout")
    names = placed(mesh_axes, key, x)
    expected = "a Python number above 0, such as 0.1: a static one, which chooses the computation"
    if isinstance(temperature, (np.ndarray, jax.Array)):
        raise TypeError(f"got temperature={temperature!r:.60}, expected {expected}")
    check_number(temperature, "temperature", expected, lambda t: 0 < t < math.inf)
    shared = check_dims(broadcast_dims, x.ndim)
    checked = check_rate(rate)
    key, test_mode = resolve(key, checked, deterministic, "concrete_dropout")
    if test_mode is True:
        return x
    if checked.always and test_mode is False:
        return jnp.zeros_like(x)
    p = _differentiable(rate)
    drawn = shared_shape(x.shape, shared)
    check_rate_shape(checked, drawn)
    names = apart_from(names, shared)
    return choose(test_mode, x, _smooth(key, x, p, drawn, temperature, names))


@functools.partial(jax.jit, static_argnames=("drawn", "temperature", "names"), inline=True)
def _smooth(
    key: Any,
    x: jax.Array,
    p: jax.Array,
    drawn: tuple[int, ...],
    temperature: float,
    names: Names,
) -> jax.Array:
    # Only the key is kept: logistic noise and mask are computed again in the backward pass.
    @functools.partial(jax.checkpoint, prevent_cse=False)
    def smooth(key: Any, x: jax.Array, p: jax.Array) -> jax.Array:
        p = with_rank(p, x.ndim)
        scale = jnp.where(p < _MOST, 1 / (1 - p), 0)  # a traced rate of 1 keeps nothing
        bits = random_bits(key, drawn, mesh_axes=names)
        kept = (1 - _dropped(p, bits, temperature)) * scale
        return scaled(x, broadcast_like(kept, x))

    return smooth(key, x, p)


def concrete_regularizer(
    rate: RateLike,
    kernel: Inexact[AnyArray, "..."],
    *,
    inputs: int,
    weight_factor: float,
    entropy_factor: float,
) -> Float[Array, ""]:
    """Compute the regulariser of a layer that reads concrete dropout's output.

    ``weight_factor sum(kernel**2) / (1 - rate) - entropy_factor inputs H(rate)``, with the entropy
    ``H(p) = -p log p - (1 - p) log(1 - p)``

    Args:
      rate: the layer's rate, a scalar. Gradients flow to it.
      kernel: the weights that multiply the dropped array.
      inputs: how many units are dropped, 1 or more, each with its own decision: the size of the
        last dimension for a dense layer, the number of channels if whole channels are dropped.
      weight_factor: l**2 / N, with the prior's length scale l (the authors use 1e-4) and the number
        N of training examples.
      entropy_factor: 2 / N for a squared error weighted by ``exp(-log_variance)`` without the
        factor 1/2, 1 / N for a cross-entropy: losses that are means over examples.

    Returns:
      Scalar, to be added to the loss. With small weights it is smallest at a rate near 1/2.

    Raises:
      ValueError: if rate is not one number between 0 and 1, inputs is below 1, or a factor is
        negative or not finite; a traced factor is taken as it is.

    Reference:
      Gal, Hron & Kendall, Concrete Dropout, 2017, equations 3 and 4; the scaling by 1 / (1 - rate)
      is that of the authors' code, whose kernel multiplies inputs already divided by 1 - rate.

    >>> import jax.numpy as jnp, jaxdrop
    >>> kernel = jnp.zeros((4, 2))
    >>> factors = dict(weight_factor=1e-8, entropy_factor=1.0)
    >>> loss = jaxdrop.concrete_regularizer(0.5, kernel, inputs=4, **factors)
    >>> round(float(loss), 4)  # -4 log 2
    -2.7726
    """
    check_rate(rate)
    if np.ndim(rate):
        raise ValueError(
            f"got a rate of shape {np.shape(rate)}; concrete_regularizer takes one rate for one "
            "layer: map over several with jax.vmap, each with the part of the kernel that it drops"
        )
    kernel = check_real_input(kernel, "concrete_regularizer", "kernel", "the weights of a layer")
    units = check_count(inputs, "inputs", "the number of units that are dropped")
    for name, factor in (("weight_factor", weight_factor), ("entropy_factor", entropy_factor)):
        check_number(factor, name, "a finite number of 0 or more", lambda f: 0 <= f < math.inf)
    p = _differentiable(rate)
    entropy = -(p * jnp.log(p) + (1 - p) * jnp.log1p(-p))
    squares = jnp.sum(jnp.square(kernel.astype(p.dtype)))
    return weight_factor * squares / (1 - p) - entropy_factor * units * entropy


def _differentiable(rate: Any) -> jax.Array:
    """The rate in float32 at least, kept where log(p) and log(1 - p) are finite."""
    p = jnp.asarray(rate)
    p = p if p.dtype == jnp.float64 else p.astype(jnp.float32)
    return jnp.clip(p, 2.0**-40, _MOST)


# The derivative follows from the value; the chain rule would go through infinities.
@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def _dropped(p: jax.Array, bits: jax.Array, temperature: float) -> jax.Array:
    """z of ``concrete_dropout``, as ``1 / (1 + ((1 - p) / p (1 - u) / u) ** (1 / temperature))``.

    At the usual temperatures the power is an integer: no logarithm, no exponential. Where it is
    infinite, z is 0.
    """
    odds = (1 - p) / p * _odds(bits).astype(p.dtype)
    power = 1 / temperature
    return 1 / (1 + (jax.lax.integer_pow(odds, int(power)) if power % 1 == 0 else odds**power))


@_dropped.defjvp
def _dropped_jvp(temperature: float, primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
    p, bits = primals
    z = _dropped(p, bits, temperature)
    return z, tangents[0] / (temperature * p * (1 - p)) * (z * (1 - z))


def _odds(bits: jax.Array) -> jax.Array:
    """(1 - u) / u for u in the middle of one of 2**23 equal cells, so that it is finite.

    Both are odd multiples of 2**-24, exact in float32.
    """
    odd = ((bits >> np.uint32(8)) | np.uint32(1)).astype(jnp.int32).astype(jnp.float32)
    return (np.float32(2.0**24) - odd) / odd
