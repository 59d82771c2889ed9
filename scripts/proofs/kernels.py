"""Cheaper dropout kernels that were tried, each a function (words, x) -> y at the same rate.

``scripts/prove gpu`` counts their instructions; docs/generator.md says why none of them is used.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxdrop._core.index import block_layout, weyl_index
from jaxdrop._core.keep_where import keep_where, small_number
from jaxdrop._core.mix import WEYL, rounds
from scripts.proofs.stack import RATE

THRESHOLD = round(RATE * 2**32)
Kernel = Callable[[jax.Array, jax.Array], jax.Array]


def copy(words: jax.Array, x: jax.Array) -> jax.Array:
    """What they are compared with: read, scale, write."""
    return x * x.dtype.type(1 / (1 - RATE))


def as_it_is(words: jax.Array, x: jax.Array) -> jax.Array:
    """Draw a word for each element, as ``jaxdrop.dropout`` does."""
    return _drop(rounds(_start(words, x.shape), None, words), words, x)


def two_of_a_word(words: jax.Array, x: jax.Array) -> jax.Array:
    """Use a word and its two halves exchanged for neighbours in the last dimension.

    Each is a uniform word, so that the rate is exact. What makes a pair dependent are ties of the
    first 16 bits with the threshold's.
    """
    word, second, pairs = _pairs(words, x)
    return _drop(jnp.where(second, _exchanged(word), word), words, pairs).reshape(x.shape)


def two_of_a_word_by_index(words: jax.Array, x: jax.Array) -> jax.Array:
    """Do the same as a function of the element's index, which any block of an array needs."""
    column = jax.lax.broadcasted_iota(jnp.uint32, x.shape, 1)
    row = jax.lax.broadcasted_iota(jnp.uint32, x.shape, 0)
    row_start = row * np.uint32(x.shape[1] // 2 * WEYL % 2**32) + words[0]
    word = rounds(row_start + _right(column, 1) * np.uint32(WEYL), None, words)
    second = column & np.uint32(1) == np.uint32(1)
    return _drop(jnp.where(second, _exchanged(word), word), words, x)


def two_of_a_word_and_one_more(words: jax.Array, x: jax.Array) -> jax.Array:
    """Compare half a word; where it ties with the threshold, let a word of its own decide."""
    word, second, pairs = _pairs(words, x)
    half = jnp.where(second, word & np.uint32(0xFFFF), _right(word, 16))
    own = rounds(_start(words[::-1], pairs.shape), None, words[::-1])
    high, low = np.uint32(THRESHOLD >> 16), np.uint32(THRESHOLD & 0xFFFF)
    kept = (half > high) | ((half == high) & (_right(own, 16) >= low))
    return _keep(kept, words, pairs).reshape(x.shape)


def first_round_without_shift(words: jax.Array, x: jax.Array) -> jax.Array:
    """Leave ``x0 >> 17`` out."""
    x0 = _start(words, x.shape)
    return _drop(_last_rounds(x0, (x0 ^ words[1]) * np.uint32(0xED5AD4BB), words), words, x)


def first_round_without_product(words: jax.Array, x: jax.Array) -> jax.Array:
    """Leave the first of the three products out."""
    x0 = _start(words, x.shape)
    return _drop(_last_rounds(x0, x0 ^ _right(x0, 17) ^ words[1], words), words, x)


def two_rounds(words: jax.Array, x: jax.Array) -> jax.Array:
    """Leave the first round out; with other constants, ``lowbias32_forward`` of the candidates."""
    x0 = _start(words, x.shape)
    return _drop(_last_rounds(x0, x0, words), words, x)


KERNELS: dict[str, Kernel] = {
    "a word for each element, as it is": as_it_is,
    "a word for two": two_of_a_word,
    "a word for two, by index": two_of_a_word_by_index,
    "a word for two, one more for ties": two_of_a_word_and_one_more,
    "first round without its shift": first_round_without_shift,
    "first round without its product": first_round_without_product,
    "two rounds": two_rounds,
}


def block(kernel: Kernel) -> Kernel:
    """Return gelu, the kernel and a residual: what it is fused with in a network."""
    return lambda words, x: kernel(words, jax.nn.gelu(x + x[:1])) + x


def _start(words: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    block, base = block_layout(shape, (), None)
    return weyl_index(block, base, WEYL, None, words[0])


def _last_rounds(x0: jax.Array, x: jax.Array, words: jax.Array) -> jax.Array:
    x = (x ^ _right(x, 11) ^ words[2]) * np.uint32(0xAC4C1B51)
    x = (x ^ _right(x, 15) ^ words[3]) * np.uint32(0x31848BAB)
    return x ^ _right(x, 14) ^ x0


def _pairs(words: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """A word for each pair, which of a pair is the second, and x in pairs."""
    pairs = x.reshape(*x.shape[:-1], -1, 2)
    word = rounds(_start(words, pairs.shape[:-1]), None, words)[..., None]
    return word, jax.lax.broadcasted_iota(jnp.int32, pairs.shape, pairs.ndim - 1) == 1, pairs


def _drop(bits: jax.Array, words: jax.Array, x: jax.Array) -> jax.Array:
    return _keep(bits >= np.uint32(THRESHOLD), words, x)


def _keep(kept: jax.Array, words: jax.Array, x: jax.Array) -> jax.Array:
    return keep_where(kept, x, 1 / (1 - RATE), small_number(words))


def _exchanged(word: jax.Array) -> jax.Array:
    return jnp.left_shift(word, np.uint32(16)) | _right(word, 16)


def _right(x: jax.Array, by: int) -> jax.Array:
    return jnp.right_shift(x, np.uint32(by))
