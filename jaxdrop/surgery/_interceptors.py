"""Linen's active interceptors, which change what is traced inside them."""

from collections.abc import Callable, Hashable
from typing import Any

from flax import linen as nn


def interceptors() -> list[Callable[..., Any]] | None:
    """Return the active interceptors, the innermost first; None if flax does not tell."""
    stack = getattr(nn.module, "_global_interceptor_stack", None)
    return None if stack is None else list(stack)


def interceptors_cache_key() -> Hashable:
    """Return what a compiled program must be looked up by, besides its arguments."""
    active = interceptors()
    if active is None:
        return object()  # equal to nothing else: each call is traced again
    return tuple(f if _hashable(f) else _ByIdentity(f) for f in active)


def inner_call(own: Callable[..., Any], function: Callable[..., Any], context: Any) -> Any:
    """Return a function wrapped in the interceptors that are inside ``own``.

    It is the next_fun that ``own`` would be given if ``function`` were the method called.
    """
    for interceptor in interceptors() or ():
        if interceptor is own:
            break
        function = _within(interceptor, function, context)
    return function


def _within(interceptor: Any, function: Any, context: Any) -> Any:
    return lambda *args, **kwargs: interceptor(function, args, kwargs, context)


def _hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:  # a rate that is an array
        return False
    return True


class _ByIdentity:
    """Stands for an interceptor that cannot be hashed; equal if it is the same object."""

    def __init__(self, interceptor: Any):
        self._interceptor = interceptor  # kept, so that its id is not given to another

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByIdentity) and self._interceptor is other._interceptor

    def __hash__(self) -> int:
        return id(self._interceptor)
