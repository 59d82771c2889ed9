"""changed_fields: other fields for a bound Linen module, for the time of a call."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def changed_fields(module: Any, **changes: Any) -> Iterator[None]:
    """Give a bound module other fields within the context.

    A Linen module is frozen; a bound one is a copy that lives as long as the call.
    """
    before = {name: getattr(module, name) for name in changes}
    for name, value in changes.items():
        object.__setattr__(module, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            object.__setattr__(module, name, value)
