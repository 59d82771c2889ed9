"""How a shared property is run over the records: which cases, which key, what is equal."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest

from scripts.members import RECORDS, Case, TwoPoint

members: list[Case] = [case for record in RECORDS for case in record.cases]
RATE = 0.375  # held exactly by float32: as a number and as an array it has the same threshold


def over(**wanted: Any) -> Any:
    """Parametrise over the members whose attributes have the given values."""
    chosen = [m for m in members if all(getattr(m, k) == v for k, v in wanted.items())]
    return pytest.mark.parametrize("member", chosen, ids=lambda member: member.id)


def with_law(*kinds: type) -> Any:
    chosen = [m for m in members if isinstance(m.law, kinds)]
    return pytest.mark.parametrize("member", chosen, ids=lambda member: member.id)


def key(n: int = 0) -> jax.Array:
    return jax.random.key(n)


@functools.cache
def _compiled(apply: Callable[..., jax.Array]) -> Any:
    return jax.jit(lambda k, x: apply(k, x, RATE))


def run(member: Case, k: jax.Array, x: jax.Array) -> jax.Array:
    """Apply the member at RATE under jit, compiled once for all tests of a file."""
    return _compiled(member.apply)(k, x)


def close(y: Any, z: Any) -> None:
    """Equal but for the rounding of a fused multiply-add."""
    y, z = np.asarray(y), np.asarray(z)
    assert y.shape == z.shape and y.dtype == z.dtype
    np.testing.assert_allclose(y, z, rtol=2e-6, atol=1e-6)


def decisions(member: Case, y: np.ndarray) -> np.ndarray:
    """Where y was dropped; fails on a value outside of the support."""
    assert isinstance(member.law, TwoPoint)
    x = np.asarray(member.example()).astype(np.float64)
    kept, dropped = member.law.kept(x, RATE), member.law.dropped(x, RATE)
    is_kept, is_dropped = np.isclose(y, kept, 2e-6, 2e-7), np.isclose(y, dropped, 2e-6, 2e-7)
    assert (is_kept ^ is_dropped).all(), "a value outside of the support"
    return is_dropped
