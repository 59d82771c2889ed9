"""gaussian_noise: add normal noise."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxdrop._core.annotations import AnyArray, Flag, MeshAxes
from jaxdrop._core.checks import check_broadcast, check_real_input, check_real_values
from jaxdrop._core.key import AnyKey
from jaxdrop._core.mesh import Names, placed
from jaxdrop._core.mode import choose, resolve_noise
from jaxdrop._core.noise import scaled_noise


def gaussian_noise(
    key: AnyKey | None,
    x: Float[AnyArray, "..."],
    stddev: Any,
    *,
    deterministic: Flag = False,
    mesh_axes: MeshAxes = (),
) -> Float[Array, "..."]:
    """Add normal noise.

    ``y = x + stddev * z``, z standard normal

    Args:
      key: a random key; may be None when deterministic is True or stddev is 0.
      x: floating array of any shape.
      stddev: standard deviation of the noise, 0 or more and finite; a number, a traced scalar, or
        an array that broadcasts against x. A traced one below 0 counts as 0. No gradient flows to
        it.
      deterministic: True for test time; a bool, or a traced bool scalar.
      mesh_axes: inside ``shard_map``, the mesh axes that split x, as in ``dropout``.

    Returns:
      Array like x with E[y] = x and Var[y] = stddev**2, to a relative 1e-5.

    Raises:
      TypeError: if x is not a real floating array.
      ValueError: if a concrete stddev is negative or not finite, or key is None where noise is
        drawn.

    Not for: layers whose scale is free, since the network learns larger activations until the noise
    is small beside them. The noise of ``gaussian_dropout`` scales with them.

    Reference:
      Bishop, Training with Noise is Equivalent to Tikhonov Regularization, 1995.

    >>> import jax, jax.numpy as jnp, jaxdrop
    >>> y = jaxdrop.gaussian_noise(jax.random.key(0), jnp.ones(100_000), 0.1)
    >>> f"{y.mean():.2f} {y.std():.2f}"
    '1.00 0.10'
    """
    way_out = "so add noise to real and imaginary part, each with a key of its own"
    x = check_real_input(x, "gaussian_noise", "x", way_out)
    names = placed(mesh_axes, key, x)
    std = _check_stddev(stddev)
    check_broadcast(np.shape(std), x.shape, "stddev", f"x of shape {x.shape}")
    never = isinstance(std, float) and std == 0
    key, test_mode = resolve_noise(key, never, deterministic, "gaussian_noise")
    if test_mode is True:
        return x
    return choose(test_mode, x, _add(key, x, std, names))


@functools.partial(jax.jit, static_argnames="names", inline=True)
def _add(key: Any, x: jax.Array, stddev: Any, names: Names) -> jax.Array:
    noise = scaled_noise(key, x, stddev, names)
    return (x.astype(noise.dtype) + noise).astype(x.dtype)


def _check_stddev(stddev: Any) -> Any:
    """Return a number, or an array: NumPy's where the values are known, else JAX's, clipped."""
    expected = "expected a finite stddev >= 0"
    host = check_real_values(stddev, "stddev", expected)
    if host is None:
        return jnp.maximum(jax.lax.stop_gradient(stddev), 0)
    bad = host[~((host >= 0) & np.isfinite(host))]
    if bad.size:
        raise ValueError(f"got stddev={float(bad.flat[0])!r}; {expected}")
    return float(host) if host.ndim == 0 else host
