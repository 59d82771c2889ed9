"""How often a word, or a run of words, comes twice: as often as in a random function."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from scripts.quality.generator import Generator, fixed_key, folded_keys
from scripts.quality.verdict import Finding, two_sided

_VALUES = 2.0**32
_CHUNK = 1 << 22


def distinct_words(generator: Generator, log_sizes: range) -> list[Finding]:
    """Number of distinct words among the first 2**n outputs of one key.

    For a random function it is ``2**32 (1 - e**-t)`` with ``t = 2**n / 2**32``, of variance
    ``2**32 (e**-t - (1 + t) e**-2t)``. A bijection of the index repeats nothing and fails.
    """
    words = _words(generator, fixed_key(600), 1 << log_sizes[-1])
    return [_distinct(words[: 1 << n], f"first 2**{n} of one key") for n in log_sizes]


def distinct_words_of_keys(generator: Generator, keys: int, log_size: int) -> list[Finding]:
    """The same for the first 2**log_size words of each of many keys, taken together."""
    batch = folded_keys(fixed_key(601), 0, keys)
    draw = functools.partial(generator.bits, shape=(1 << log_size,))
    words = np.asarray(jax.jit(jax.vmap(draw))(batch)).reshape(-1)
    return [_distinct(words, f"first 2**{log_size} of {keys} keys")]


def shared_runs(generator: Generator, keys: int, log_size: int) -> list[Finding]:
    """Pairs of neighbouring words that occur under two keys: a sequence shared by keys.

    Few keys with long runs show keys that walk through one sequence; many keys with short runs show
    that fewer functions than keys exist.

    Among n random 64-bit values the number of equal pairs is Poisson of mean n**2 / 2**65.
    """
    batch = folded_keys(fixed_key(602), 0, keys)
    draw = functools.partial(generator.bits, shape=(1 << log_size,))
    words = np.asarray(jax.jit(jax.vmap(draw))(batch)).astype(np.uint64)
    pairs = np.sort((words[:, :-1] << np.uint64(32) | words[:, 1:]).reshape(-1))
    repeats = int(np.count_nonzero(pairs[1:] == pairs[:-1]))
    p = float(stats.poisson.sf(repeats - 1, pairs.size**2 / 2.0**65))
    case = f"2**{log_size} words of {keys} keys"
    return [Finding("shared runs", case, float(repeats), p)]


def serial(generator: Generator, log_size: int) -> list[Finding]:
    """Chi-squared of neighbouring words: high halves, low halves, five triples of bits."""
    words = _words(generator, fixed_key(603), 1 << log_size)
    cells = {
        "2 x top 8 bits": _cells(words >> np.uint32(24), 2, 8),
        "2 x low 8 bits": _cells(words & np.uint32(255), 2, 8),
        "5 x top 3 bits": _cells(words >> np.uint32(29), 5, 3),
        "16 x top bit": _cells(words >> np.uint32(31), 16, 1),
        "16 x low bit": _cells(words & np.uint32(1), 16, 1),
    }
    findings = []
    for case, (cell, number) in cells.items():
        counts = np.bincount(cell, minlength=number)
        mean = cell.size / number
        chi2 = float(np.sum((counts - mean) ** 2) / mean)
        findings.append(Finding("serial", case, chi2, two_sided(stats.chi2(number - 1), chi2)))
    return findings


def birthday_spacings(generator: Generator, repeats: int) -> list[Finding]:
    """Marsaglia's birthday spacings: 2**12 birthdays in a year of 2**32 days, bit-reversed too.

    The number of equal spacings is Poisson of mean 2**36 / 2**34 = 4.
    """
    words = _words(generator, fixed_key(604), repeats << 12)
    findings = []
    for case, days in (("words", words), ("bytes reversed", words.byteswap())):
        spacings = np.sort(np.diff(np.sort(days.reshape(repeats, -1), axis=1), axis=1), axis=1)
        equal = int(np.count_nonzero(spacings[:, 1:] == spacings[:, :-1]))
        law = stats.poisson(4.0 * repeats)
        findings.append(Finding("birthday spacings", case, float(equal), two_sided(law, equal)))
    return findings


def _cells(values: np.ndarray, together: int, bits: int) -> tuple[np.ndarray, int]:
    groups = values[: values.size // together * together].reshape(-1, together)
    weights = np.uint32(1) << np.arange(0, together * bits, bits, dtype=np.uint32)
    return groups @ weights, 1 << together * bits


def _distinct(words: np.ndarray, case: str) -> Finding:
    t = words.size / _VALUES
    ordered = np.sort(words)
    distinct = 1 + int(np.count_nonzero(ordered[1:] != ordered[:-1]))
    mean = -_VALUES * np.expm1(-t)
    # e**-t - (1 + t) e**-2t without the cancellation at small t
    variance = _VALUES * np.exp(-2 * t) * (np.expm1(t) - t)
    z = float((distinct - mean) / np.sqrt(variance))
    return Finding("distinct words", case, z, two_sided(stats.norm, z))


def _words(generator: Generator, key: jax.Array, count: int) -> np.ndarray:
    chunk = min(_CHUNK, count)
    starts = range(0, count, chunk)
    out = np.empty(count, np.uint32)
    for start in starts:
        out[start : start + chunk] = _chunk(key, np.uint32(start), generator, chunk)
    return out


@functools.partial(jax.jit, static_argnames=("generator", "count"))
def _chunk(key: jax.Array, start: jax.Array, generator: Generator, count: int) -> jax.Array:
    return generator.bits(key, (count,), (jnp.asarray(start),))
