"""How many elements are dropped: the rate, and the variance of the count."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from scripts.quality.generator import Generator, fixed_key, folded_keys
from scripts.quality.verdict import Finding, of_normals, two_sided

RATES = (1e-6, 1e-3, 0.1, 0.5, 0.9, 0.999)
_MIDDLE = (0.1, 0.5, 0.9)  # where counts are close to normal
_CHUNK = 1 << 20  # counted at a time, in the cache


def rate(generator: Generator, log_size: int, keys: int) -> list[Finding]:
    """Total drops over `keys` masks of 2**log_size elements against the binomial law."""
    totals = _drops_of_keys(generator, log_size, keys).sum(0)
    findings = []
    for p, count in zip(RATES, totals, strict=True):
        law = stats.binom(keys << log_size, _exact(p))
        findings.append(Finding("rate", f"p = {p:g}", float(count), two_sided(law, count)))
    return findings


def variance(generator: Generator, log_size: int, keys: int) -> list[Finding]:
    """Counts of drops over 2**log_size elements of each key have the binomial variance.

    The sum of squared deviates is compared with chi-squared on both sides: a generator that is
    spread too evenly has counts too close to their mean.
    """
    z = _deviates(_drops_of_keys(generator, log_size, keys), log_size)
    findings = []
    for p, column in zip(RATES, z.T, strict=True):
        if p in _MIDDLE:
            findings += of_normals("variance", f"p = {p:g}, {keys} x 2**{log_size}", column)
    return findings


def whole_period(generator: Generator, keys: int) -> list[Finding]:
    """Counts over 16 blocks of 2**28 elements, and over all 2**32 low indices, of a few keys.

    A bijection of the index drops over 2**32 elements exactly the expected number.
    """
    counts = np.stack(
        [
            [_drops(generator, fixed_key(900 + k), 28, start << 28) for start in range(16)]
            for k in range(keys)
        ]
    )
    blocks, whole = _deviates(counts, 28), _deviates(counts.sum(1), 32)
    findings = []
    for i, p in enumerate(RATES):
        if p in _MIDDLE:
            findings += of_normals("whole period", f"p = {p:g}, blocks of 2**28", blocks[..., i])
            findings += of_normals("whole period", f"p = {p:g}, 2**32", whole[..., i])
    return findings


def _exact(p: Any) -> Any:
    return np.round(np.asarray(p) * 2.0**32) / 2.0**32


def _deviates(counts: np.ndarray, log_size: int) -> np.ndarray:
    """Standard deviates of counts whose last axis is the rate."""
    p, size = _exact(RATES), 2.0**log_size
    return (counts - size * p) / np.sqrt(size * p * (1 - p))


def _drops_of_keys(generator: Generator, log_size: int, keys: int) -> np.ndarray:
    batch = folded_keys(fixed_key(1), 0, keys)
    return np.stack([_drops(generator, batch[k], log_size, 0) for k in range(keys)])


def _drops(generator: Generator, key: jax.Array, log_size: int, start: int) -> np.ndarray:
    """Number of drops at each rate among 2**log_size elements from index start on."""
    size = 1 << log_size
    chunk = min(_CHUNK, size)
    counts = _count(key, np.uint32(start), generator, chunk, size // chunk)
    return np.asarray(counts, np.int64).sum(0)


@functools.partial(jax.jit, static_argnames=("generator", "chunk", "blocks"))
def _count(
    key: jax.Array, first: jax.Array, generator: Generator, chunk: int, blocks: int
) -> jax.Array:
    def one(i: jax.Array) -> jax.Array:
        start = first + i * np.uint32(chunk)
        masks = [generator.drops(key, (chunk,), p, (start,)) for p in RATES]
        return jnp.stack([mask.sum(dtype=jnp.int32) for mask in masks])

    return jax.lax.map(one, jnp.arange(blocks, dtype=jnp.uint32))
