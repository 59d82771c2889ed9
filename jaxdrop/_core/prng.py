"""fast_prng_impl: the generator as a JAX PRNG, for dropout and noise of any library."""

import importlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import random as jex_random

from jaxdrop._core.bits import word_bits
from jaxdrop._core.index import block_layout
from jaxdrop._core.key import data_words


def _bits(data: jax.Array, bit_width: int, shape: tuple[int, ...]) -> jax.Array:
    """Bits for ``jax.random``: the top ``bit_width`` of the element's word, or two words for 64."""
    words = data_words(data)
    if bit_width == 64:
        block, base = block_layout((*shape, 2), (), None)
        both = word_bits(words, base, block).astype(jnp.uint64)
        return both[..., 0] << np.uint64(32) | both[..., 1]
    block, base = block_layout(shape, (), None)
    bits = word_bits(words, base, block)
    if bit_width == 32:
        return bits
    narrow = {8: jnp.uint8, 16: jnp.uint16}[bit_width]
    return jnp.right_shift(bits, np.uint32(32 - bit_width)).astype(narrow)


_threefry = jex_random.threefry_prng_impl

fast_prng_impl = jex_random.define_prng_impl(
    key_shape=_threefry.key_shape,
    seed=_threefry.seed,
    split=_threefry.split,
    random_bits=_bits,
    fold_in=_threefry.fold_in,
    name="jaxdrop_fast",
    tag="jdf",
)


def _register(spec: Any) -> bool:
    """Make the implementation known to jax by its name; return whether that could be done.

    Orbax stores the name of a key's implementation and asks jax for it when it restores. jax has no
    public function for this, so a version where it cannot be found loses that, and nothing else.
    """
    for place in ("jax._src.random.prng", "jax._src.prng"):
        try:
            module = importlib.import_module(place)
            module.prngs.setdefault("jaxdrop_fast", spec._impl)
        except (ImportError, AttributeError):
            continue
        return True
    return False


_register(fast_prng_impl)
