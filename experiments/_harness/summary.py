"""One line of the table in experiments/README.md, made from a stored result."""

from typing import NamedTuple


class Summary(NamedTuple):
    """An experiment's line: question, numbers, verdict."""

    question: str
    source: str  # the paper's table or figure
    published: str
    ours: str
    match: str  # whether ours match, and why or why not
