"""Numbers of a result as tables: which are columns, which rows, and what a cell shows."""

from collections.abc import Iterator
from html import escape
from statistics import fmean
from typing import Any

from experiments._harness.difference import leaves

Columns = dict[str, dict[str, Any]]
SHORT = 5  # values of a list that are shown without a click


def tables(numbers: dict[str, Any], title: str = "") -> Iterator[tuple[str, Columns]]:
    """Yield (title, columns): arms that have a quantity in common stand beside each other.

    What has no counterpart is a column of its own, named value.
    """
    plain = {name: x for name, x in numbers.items() if not isinstance(x, dict)}
    arms = {name: x for name, x in numbers.items() if isinstance(x, dict)}
    if plain:
        yield title, {"value": dict(_quantities(plain))}
    if len(arms) > 1 and set.intersection(*map(set, arms.values())):
        names = f"{title}: each" if plain else title  # the columns are others
        yield names, {name: dict(_quantities(arm)) for name, arm in arms.items()}
    else:
        for name, arm in arms.items():
            yield from tables(arm, f"{title}, {name}" if title else name)


def _quantities(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (name, value) for what a cell can show: a value, or lists of values."""
    if isinstance(tree, dict) or (isinstance(tree, list) and _has_dict(tree)):
        for name, branch in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from _quantities(branch, f"{path} {name}".strip())
    else:
        yield path, tree


def _has_dict(tree: Any) -> bool:
    return isinstance(tree, dict) or (isinstance(tree, list) and any(map(_has_dict, tree)))


def rows_of(columns: Columns) -> list[str]:
    """Return the names of all rows, in the order in which they come."""
    return list(dict.fromkeys(name for values in columns.values() for name in values))


def cell(value: Any) -> str:
    """Return a cell; a list sorts by its mean, and a long one opens by a click."""
    if not isinstance(value, list):
        exact = escape(_exact(value))
        return f'<td data-v="{exact}" title="{exact}">{escape(_short(value))}</td>'
    every = [x for _, x in leaves(value, "")]
    numbers = [x for x in every if type(x) in (int, float)]
    mean = fmean(numbers) if numbers else None
    lines = "<br>".join(
        f'<span title="{escape(", ".join(map(_exact, line)))}">'
        f"{escape(', '.join(map(_short, line)))}</span>"
        for line in _lines(value)
    )
    if len(every) > SHORT:
        count = f"{len(every)} values"
        if mean is not None:
            count += f", {_short(min(numbers))} to {_short(max(numbers))}, mean {_short(mean)}"
        lines = f"<details><summary>{count}</summary>{lines}</details>"
    return f'<td data-v="{"" if mean is None else repr(mean)}">{lines}</td>'


def _lines(value: list[Any]) -> Iterator[list[Any]]:
    """Yield the innermost lists."""
    if not any(isinstance(x, list) for x in value):
        yield value
        return
    for x in value:
        yield from _lines(x if isinstance(x, list) else [x])


def _exact(value: Any) -> str:
    return "none" if value is None else str(value)


def _short(value: Any) -> str:
    return f"{value:.5g}" if isinstance(value, float) else _exact(value)
