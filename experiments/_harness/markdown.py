"""Parts of a page that a command writes: a table's row, and the text between two markers."""

from collections.abc import Iterable


def row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def between(text: str, begin: str, end: str, new: str) -> str | None:
    """Return the text with new between the markers, an empty line around it; None without them."""
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    return f"{before}{begin}\n\n{new}\n\n{end}{after}" if found and closed else None
