"""change_first_argument: change the first argument of a call, given by position or by name."""

import inspect
from collections.abc import Callable
from typing import Any


def change_first_argument(
    change: Callable[[Any], Any], function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return args and kwargs with the first argument changed.

    Args:
      change: maps it to what is passed in its place.
      function: the method that is called; of arguments given by name, the first in its signature
        counts.
      args: positional arguments, without self.
      kwargs: arguments given by name.

    Raises:
      ValueError: if there is none.
    """
    if args:
        return (change(args[0]), *args[1:]), kwargs
    names = [*inspect.signature(function).parameters, *kwargs]
    first = next((name for name in names if name in kwargs), None)
    if first is None:
        raise ValueError(
            "a layer that was chosen is called without arguments, so there is no input to drop; "
            "leave it out with where"
        )
    return args, kwargs | {first: change(kwargs[first])}
