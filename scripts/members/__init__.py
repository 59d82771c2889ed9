"""The dropout family as data: one record per member, in a file of the member's name.

Tests, gallery, benchmark and the tables of docs/family.md are made from ``RECORDS``, which holds
the ``RECORD`` of every file in this folder whose name has no underscore in front.
"""

import importlib
from collections.abc import Iterable
from pathlib import Path

from scripts.members._case import Case as Case
from scripts.members._case import Normal as Normal
from scripts.members._case import TwoPoint as TwoPoint
from scripts.members._layer import Layer as Layer
from scripts.members._record import SECTIONS, Record


def in_order(records: Iterable[Record]) -> tuple[Record, ...]:
    """Return them as on the page: section by section, each record behind the one that it follows.

    Raises:
      ValueError: if a record follows none that is in its section, or is in none of ``SECTIONS``.
    """
    left, ordered = list(records), []

    def add(section: str, after: str | None) -> None:
        for record in [r for r in left if (r.section, r.after) == (section, after)]:
            left.remove(record)
            ordered.append(record)
            add(section, record.name)

    for section in SECTIONS:
        add(section, None)
    for record in left:
        raise ValueError(
            f"got after={record.after!r} in section {record.section!r} in the record of "
            f"{record.name}; expected a member of that section, one of {', '.join(SECTIONS)}"
        )
    return tuple(ordered)


RECORDS = in_order(
    importlib.import_module(f"{__name__}.{path.stem}").RECORD
    for path in sorted(Path(__file__).parent.glob("[!_]*.py"))
)
