"""DonatingStep: a jitted step that reuses its state's memory, even where arrays share it."""

import weakref
from collections.abc import Callable
from typing import Any

import jax

from jaxdrop.training._state import check_not_donated


class DonatingStep:
    """Call ``step(state, batch) -> (state, metrics)`` under jit and donate the state.

    XLA takes a buffer once. A state may hold one twice: an optimizer that keeps the parameters it
    started from, an average that begins as them. The second is copied first.

    Args:
      step: the function.
      **options: of ``jax.jit``.
    """

    def __init__(self, step: Callable[..., Any], **options: Any):
        self._jitted = jax.jit(step, donate_argnums=0, **options)
        self._returned: Callable[[], Any] = lambda: None

    def __call__(self, state: Any, batch: Any) -> Any:
        # What jit returns shares nothing, so only the first step of a loop pays for the search.
        if state is not self._returned():
            check_not_donated(state)
            state = unshared(state)
        state, metrics = self._jitted(state, batch)
        self._returned = weakref.ref(state)
        return state, metrics

    def __getattr__(self, name: str) -> Any:
        """Return what a jitted function has: ``lower``, ``trace`` and others."""
        if name == "_jitted":  # asked for before __init__, by copy
            raise AttributeError(name)
        return getattr(self._jitted, name)


def unshared(tree: Any) -> Any:
    """Return the tree with a copy of each array whose buffer another array before it has."""
    seen: set[int] = set()

    def unshared_leaf(leaf: Any) -> Any:
        if not isinstance(leaf, jax.Array) or isinstance(leaf, jax.core.Tracer):
            return leaf
        if not leaf.size:
            return leaf
        # One device tells for all: equal placement is what makes arrays share.
        place = leaf.addressable_data(0).unsafe_buffer_pointer()
        if place in seen:
            return leaf.copy()
        seen.add(place)
        return leaf

    return jax.tree.map(unshared_leaf, tree)
