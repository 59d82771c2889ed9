"""nothing_chosen: the error of every function here whose predicate chooses nothing."""

from collections.abc import Iterable
from typing import Any

_SHOWN = 12


def nothing_chosen(what: str, opening: str, there: Iterable[tuple[Any, str]]) -> ValueError:
    """Return the error for a predicate that chose nothing.

    Args:
      what: what it chooses from, such as "layer".
      opening: words before the list of what there was, such as "the model has".
      there: what there was, each as (path, kind).
    """
    names = [f"{kind} at {path}" for path, kind in there]
    shown = ", ".join(names[:_SHOWN]) or "none"
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ValueError(f"the predicate chose no {what}; {opening} {shown}{more}")
