"""The tables of docs/family.md, made from the records of the members."""

from collections.abc import Sequence
from pathlib import Path

from experiments._harness.markdown import between, row
from scripts.members import RECORDS
from scripts.members._record import SECTIONS, Record

PAGE = Path(__file__).parents[1] / "docs" / "family.md"
BEGIN = "<!-- members: begin; scripts/gallery --docs writes this part from scripts/members -->"
END = "<!-- members: end -->"
HEAD = (
    "method",
    "paper",
    "function",
    "Linen and NNX",
    "one decision for",
    "mean preserved",
    "variance preserved",
    "use for",
    "not for",
)


def layers(record: Record) -> str:
    """The names of the layers, each of them once; - if there are none."""
    names: dict[str, None] = {}
    for layer in record.layers:
        other = f" (NNX: `{layer.nnx_name}`)" if layer.nnx_name else ""
        names[f"`{layer.name}`{other}"] = None
    names |= dict.fromkeys(f"`{name}`" for name in record.own_layers)
    return ", ".join(names) or "-"


def cells(record: Record) -> list[str]:
    """The cells of a member's row, in the order of ``HEAD``."""
    return [
        record.method,
        record.paper,
        ", ".join(f"`{name}`" for name in record.functions),
        layers(record),
        record.one_decision_for,
        record.mean_preserved,
        record.variance_preserved,
        record.use_for,
        record.not_for,
    ]


def tables(records: Sequence[Record]) -> str:
    """One table for each section that has members, under its heading."""
    parts = []
    for section in SECTIONS:
        rows = [row(cells(record)) for record in records if record.section == section]
        if rows:
            head = [row(HEAD), "|" + "---|" * len(HEAD)]
            parts.append("\n".join([f"## {section}\n", *head, *rows]))
    return "\n\n".join(parts)


def with_tables(text: str, records: Sequence[Record] = RECORDS) -> str:
    """Return the page's text with the tables between the markers.

    Raises:
      ValueError: if the markers are not there.
    """
    page = between(text, BEGIN, END, tables(records))
    if page is None:
        raise ValueError(f"{PAGE} lacks the markers {BEGIN} and {END}; put them back")
    return page


def is_up_to_date() -> bool:
    text = PAGE.read_text(encoding="utf-8")
    return with_tables(text) == text


def write() -> None:
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
