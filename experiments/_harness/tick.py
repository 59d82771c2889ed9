"""How a run reports its progress: ``tick()`` after a step, ``tick(n)`` after n steps."""

from collections.abc import Callable

Tick = Callable[..., None]


def silent(n: int = 1) -> None:
    """Report nothing."""
