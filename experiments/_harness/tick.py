"""How a run says that it got on: ``tick()`` after a step, ``tick(n)`` after n."""

from collections.abc import Callable

Tick = Callable[..., None]


def silent(n: int = 1) -> None:
    """Tell nobody."""
