"""One line of the table in experiments/README.md, made from a stored result."""

from typing import NamedTuple


class Summary(NamedTuple):
    """What an experiment answers with."""

    question: str
    source: str  # the paper's table or figure
    published: str
    ours: str
    match: str  # whether it is a match, and why or why not
