"""What the tests test: a function of (key, shape, index_offset) that returns uint32 words."""

import functools
from collections.abc import Sequence
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

import jaxdrop
from jaxdrop._core import index
from jaxdrop._core.key import key_words
from scripts.quality.candidates import Mix


class Generator(Protocol):
    """Words, and masks made of them, for a scalar key (map over keys with vmap)."""

    def bits(
        self,
        key: Any,
        shape: Sequence[int],
        index_offset: Sequence[Any] = (),
        global_shape: Sequence[int] | None = None,
    ) -> jax.Array:
        """Return uint32 words."""
        ...

    def drops(
        self, key: Any, shape: Sequence[int], rate: float, index_offset: Sequence[Any] = ()
    ) -> jax.Array:
        """Return a bool mask, True where an element is dropped."""
        ...


class Public:
    """jaxdrop itself, through its public functions."""

    def bits(
        self,
        key: Any,
        shape: Sequence[int],
        index_offset: Sequence[Any] = (),
        global_shape: Sequence[int] | None = None,
    ) -> jax.Array:
        """``jaxdrop.random_bits``."""
        return jaxdrop.random_bits(key, shape, index_offset=index_offset, global_shape=global_shape)

    def drops(
        self, key: Any, shape: Sequence[int], rate: float, index_offset: Sequence[Any] = ()
    ) -> jax.Array:
        """``~jaxdrop.keep_mask``."""
        return ~jaxdrop.keep_mask(key, shape, rate, index_offset=index_offset)


class Mixed:
    """The same with another mix in place of jaxdrop's."""

    def __init__(self, mix: Mix):
        self._mix = mix

    def bits(
        self,
        key: Any,
        shape: Sequence[int],
        index_offset: Sequence[Any] = (),
        global_shape: Sequence[int] | None = None,
    ) -> jax.Array:
        """Words of the mix."""
        block, base = index.block_layout(tuple(shape), index_offset, global_shape)
        return _mixed(key, base, self._mix, block)

    def drops(
        self, key: Any, shape: Sequence[int], rate: float, index_offset: Sequence[Any] = ()
    ) -> jax.Array:
        """Words below the threshold of the rate."""
        return self.bits(key, shape, index_offset) < np.uint32(round(rate * 2.0**32))


@functools.partial(jax.jit, static_argnames=("mix", "block"), inline=True)
def _mixed(key: jax.Array, base: index.Limbs, mix: Mix, block: index.Block) -> jax.Array:
    low = index.weyl_index(block, base, 1)
    return mix(low, index.high_index(block, base), key_words(key))


def fixed_key(number: int) -> jax.Array:
    """The fixed keys of the tests: far from the seeds that other tests use."""
    return jax.random.fold_in(jax.random.key(0x6A616E65), number)


def folded_keys(key: jax.Array, first: int, count: int) -> jax.Array:
    """fold_in(key, first), fold_in(key, first + 1), ..."""
    numbers = np.uint32(first) + jnp.arange(count, dtype=jnp.uint32)
    return jax.vmap(functools.partial(jax.random.fold_in, key))(numbers)
