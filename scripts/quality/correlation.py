"""Correlation between pairs of elements of one mask, and between masks of related keys."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from scripts.quality.generator import Generator, fixed_key, folded_keys
from scripts.quality.verdict import Finding, of_normals

LAGS = 4096
_RATES = (0.1, 0.5)


def lags(generator: Generator, log_size: int, keys: int) -> list[Finding]:
    """Autocorrelation at lags 1 to 4096 of masks, and of single bits, summed over keys.

    With independent elements ``sum_i (m[i] - p) (m[i + lag] - p)`` over a circle of n elements has
    mean 0 and variance ``n p**2 (1 - p)**2``, and two lags are uncorrelated.
    """
    n = 1 << log_size
    signals: dict[str, tuple[float, Callable[[jax.Array], jax.Array]]] = {
        "p = 0.1": (0.1, lambda key: generator.drops(key, (n,), 0.1)),
        "p = 0.5": (0.5, lambda key: generator.drops(key, (n,), 0.5)),
        "p = 0.9": (0.9, lambda key: generator.drops(key, (n,), 0.9)),
        "bit 16": (0.5, lambda key: _bit(generator.bits(key, (n,)), 16)),
        "bit 0": (0.5, lambda key: _bit(generator.bits(key, (n,)), 0)),
    }
    findings = []
    for case, (p, signal) in signals.items():
        total = np.zeros(LAGS)
        for k in range(keys):
            centred = np.asarray(signal(fixed_key(100 + k)), np.float64) - p
            power = np.abs(np.fft.rfft(centred)) ** 2
            total += np.fft.irfft(power, n)[1 : LAGS + 1]
        findings += of_normals("lags", case, total / (p * (1 - p) * np.sqrt(n * keys)))
    return findings


def rows_and_columns(generator: Generator, side: int) -> list[Finding]:
    """Correlation between all pairs of rows, and of columns, of a side x side mask."""
    findings = []
    for p in (0.1, 0.5, 0.9):
        mask = np.asarray(generator.drops(fixed_key(200), (side, side), p))
        findings += _pairs("rows", f"p = {p:g}", mask)
        findings += _pairs("columns", f"p = {p:g}", mask.T)
    return findings


def related_keys(generator: Generator, count: int, log_size: int) -> list[Finding]:
    """Correlation between all pairs of masks of split, folded, successive and one-bit-off keys."""
    base = fixed_key(300)
    families = {
        "layers (split)": jax.random.split(fixed_key(301), count),
        "steps (fold_in)": folded_keys(fixed_key(302), 0, count),
        "seeds": jax.vmap(jax.random.key)(jnp.arange(count, dtype=jnp.uint32)),
        "keys one bit apart": _one_bit_apart(base),
    }
    findings = []
    for name, batch in families.items():
        for p, masks in zip(_RATES, _masks(batch, generator, 1 << log_size), strict=True):
            findings += _pairs(name, f"p = {p:g}", np.asarray(masks))
    return findings


def high_words(generator: Generator, count: int, log_size: int) -> list[Finding]:
    """Correlation between blocks 2**32 elements apart under one key: same low index, other high."""
    n = 1 << log_size
    blocks = [generator.bits(fixed_key(400), (n,), (high << 32,)) for high in range(count)]
    words = np.stack([np.asarray(block) for block in blocks])
    findings = _pairs("high words", "p = 0.1", words < np.uint32(0.1 * 2.0**32))
    for bit in range(0, 32, 4):
        findings += _pairs("high words", f"bit {31 - bit}", words >> np.uint32(31 - bit) & 1)
    return findings


@functools.partial(jax.jit, static_argnames=("generator", "size"))
def _masks(batch: jax.Array, generator: Generator, size: int) -> list[jax.Array]:
    return [
        jax.vmap(functools.partial(generator.drops, shape=(size,), rate=p))(batch) for p in _RATES
    ]


def _bit(words: jax.Array, number: int) -> jax.Array:
    return jnp.right_shift(words, np.uint32(number)) & np.uint32(1)


def _one_bit_apart(key: jax.Array) -> jax.Array:
    data = jax.random.key_data(key)
    flips = np.zeros((65, 2), np.uint32)
    for bit in range(64):
        flips[bit + 1, bit // 32] = 1 << bit % 32
    return jax.random.wrap_key_data(data[None] ^ flips)


def _pairs(test: str, case: str, masks: np.ndarray) -> list[Finding]:
    """Deviates of the number of common drops of every pair of rows, given each row's number.

    Given the margins a count is hypergeometric and the counts of two pairs are uncorrelated.
    """
    m = np.asarray(masks, np.float32)
    n = m.shape[1]
    if n >= 1 << 24:
        raise ValueError(f"got rows of {n} elements: float32 counts exactly below 2**24")
    together = np.asarray(jnp.matmul(m, m.T, precision="highest"), np.float64)
    single = m.sum(1, dtype=np.float64)
    spread = single * (n - single)
    first, second = np.triu_indices(len(m), 1)
    expected = single[first] * single[second] / n
    deviation = np.sqrt(spread[first] * spread[second] / (float(n) ** 2 * (n - 1)))
    if not deviation.all():  # less likely than 0.9**1024 at any size in use
        constant = float(np.count_nonzero(spread == 0))
        return [Finding(test, f"{case}, masks that drop all or none", constant, 0.0)]
    return of_normals(test, case, (together[first, second] - expected) / deviation)
