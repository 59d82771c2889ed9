"""Rates: checking one, and turning it into an exact integer threshold and a scale."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxdrop._core.checks import check_broadcast, check_number, check_real_values

_TWO32 = 4294967296.0
ROUNDING = 1e-12  # 0.3 - 0.1 * 3 is -5.6e-17, and meant as 0


class Rate(NamedTuple):
    """A checked rate. ``value`` is a float, a NumPy array (host) or a JAX array (device)."""

    value: Any

    @property
    def never(self) -> bool:
        """Known before tracing to drop nothing."""
        return isinstance(self.value, float) and self.value == 0.0

    @property
    def always(self) -> bool:
        """Known before tracing to drop everything."""
        return isinstance(self.value, float) and self.value == 1.0


def check_rate(rate: Any, name: str = "rate") -> Rate:
    """Return the rate, or raise an error that names the value.

    A Python number or NumPy array is checked here and stays on the host, where it is exact in
    float64. A JAX array is checked when it is concrete and clipped to [0, 1] when it is traced.
    A value that is outside by rounding alone counts as 0 or 1.
    """
    expected = f"expected 0 <= {name} <= 1, the probability of dropping an element"
    host = check_real_values(rate, name, expected)
    if host is None:
        return Rate(jnp.clip(_as_float(jnp.asarray(jax.lax.stop_gradient(rate))), 0.0, 1.0))
    bad = host[~((host >= -ROUNDING) & (host <= 1 + ROUNDING))]
    if bad.size:
        raise ValueError(f"got {name}={float(bad.flat[0])!r}; {expected}")
    host = np.clip(host, 0.0, 1.0)
    if isinstance(rate, jax.Array):
        return Rate(_as_float(rate))
    return Rate(float(host) if host.ndim == 0 else host)


def check_rate_shape(rate: Rate, drawn: tuple[int, ...]) -> None:
    """Raise an error if the rate does not broadcast against the mask that is drawn."""
    where = f"a mask of shape {drawn} (a dimension that shares its decisions counts as 1)"
    check_broadcast(np.shape(rate.value), drawn, "a rate", where)


def start_logit(init_rate: float) -> float:
    """Return ``log(init_rate / (1 - init_rate))``, where a learned rate starts, or raise."""
    expected = "0 < init_rate < 1"
    check_number(init_rate, "init_rate", expected, lambda p: 0 < p < 1, traced=False)
    return math.log(init_rate) - math.log1p(-init_rate)


def _as_float(rate: jax.Array) -> jax.Array:
    """Widen to float32 at least: half precision would move the rate by up to 2**-9."""
    return rate if rate.dtype == jnp.float64 else rate.astype(jnp.float32)


def threshold(rate: Rate) -> Any:
    """Return t with P(uniform uint32 < t) = rate, rounded to the nearest multiple of 2**-32.

    A rate of exactly 1 has no such t; ``all_dropped`` says where that is.
    """
    if isinstance(rate.value, jax.Array):
        below_one = jnp.where(rate.value < 1, rate.value, jnp.zeros_like(rate.value))
        # float32 holds 24 bits, so the product is below 2**32 and its conversion exact.
        t = jnp.round(below_one * below_one.dtype.type(_TWO32))
        return jnp.minimum(t, t.dtype.type(_TWO32 - 256)).astype(jnp.uint32)
    return np.minimum(np.round(np.asarray(rate.value) * _TWO32), _TWO32 - 1).astype(np.uint32)


def all_dropped(rate: Rate) -> Any:
    """Return where the rate is exactly 1, or None where it is known not to be."""
    if isinstance(rate.value, jax.Array):
        return rate.value >= 1
    full = np.asarray(rate.value) >= 1
    return full if full.any() else None


def scale(rate: Rate, dtype: Any) -> Any:
    """Return ``1 / (1 - rate)`` in dtype, 0 where the rate is 1 (nothing is kept there)."""
    if isinstance(rate.value, jax.Array):
        keep = 1 - rate.value
        none = keep == 0  # a traced NaN is passed on, and seen in the output
        return jnp.where(none, 0, 1 / jnp.where(none, 1, keep)).astype(dtype)
    kept = 1.0 - np.asarray(rate.value, np.float64)
    factor = np.divide(1.0, kept, out=np.zeros_like(kept), where=kept > 0)
    return np.asarray(factor.astype(dtype))


def keep_probability(rate: Rate, dtype: Any) -> Any:
    """Return ``1 - rate`` in dtype; None keeps the rate's own precision."""
    if isinstance(rate.value, jax.Array):
        return (1 - rate.value) if dtype is None else (1 - rate.value).astype(dtype)
    return np.asarray(1.0 - np.asarray(rate.value, np.float64), dtype)
