"""Where: predicates that choose modules, and the error of one that chooses nothing."""

from collections.abc import Callable, Iterable
from typing import Any

from jaxdrop._core.checks import check_function

Path = tuple[Any, ...]
Where = Callable[[Path, Any], bool]
_SHOWN = 12


def everywhere(path: Path, module: Any) -> bool:
    """Choose every module."""
    return True


def check_where(where: Any) -> None:
    """Raise TypeError if this is not a predicate."""
    check_function(where, "where", "surgery takes a predicate, a function of (path, module)")


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
