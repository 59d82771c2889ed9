"""Typed keys in a tree of arrays: found, taken apart into their words, and put together again.

Files, hosts and Orbax hold numbers; a typed key is its words and the name of its implementation.
"""

from typing import Any, TypeVar

import jax

from jaxdrop._core.key import is_typed

T = TypeVar("T")


def is_key(leaf: Any) -> bool:
    """Say whether a leaf is an array of typed keys."""
    return isinstance(leaf, jax.Array) and is_typed(leaf)


def words_of_keys(tree: T) -> T:
    """Return a tree with the words of a typed key in the place of each."""
    return jax.tree.map(lambda leaf: jax.random.key_data(leaf) if is_key(leaf) else leaf, tree)


def keys_of_words(like: T, tree: T) -> T:
    """Undo ``words_of_keys``: ``like`` says where there are keys, and of which implementation."""

    def restored(like: Any, leaf: Any) -> Any:
        if not is_key(like):
            return leaf
        return jax.random.wrap_key_data(leaf, impl=jax.random.key_impl(like))

    return jax.tree.map(restored, like, tree)
