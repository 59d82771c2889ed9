"""The page of the experiments: question, figure, numbers, from the table in experiments/README.md.

``scripts/run tables`` writes that table from the stored results, and a test compares the two.
"""

import re
from pathlib import Path

from experiments._commands.tables import BEGIN, END, HEAD

FURTHER = {
    "quickstart": "What does dropout do to a small network on real digits?",
    "schedules": "What do rates that change while training do?",
    "concrete": "Which rate does Concrete dropout learn?",
    "uci": "Is the uncertainty that of Gal & Ghahramani's table?",
    "guidance": "How often should a generator be trained without its condition?",
    "uncertainty": "Where does a model say that it does not know?",
    "char_lm": "Does a transformer on characters train alike on any mesh?",
    "char_lm_ring": "Does it train alike with its sequences split over devices?",
    "char_lm_attention": "What does dropout of attention weights do to it?",
    "removal_characters": "Can dropped units be left out of it?",
}
"""Headings of experiments that have a figure and no row in the table; by default their names."""

ELSEWHERE = {"kill_and_resume"}
"""Figures that are in a report."""

INTRO = """# Results of the experiments

Each of these can be run again: `scripts/run NAME` draws it anew, and
`scripts/run reproduce results/NAME/result.json` says whether every number came out the same.
**The cpu presets are not the papers' tables**: they have a fraction of the units, rows and steps,
so that an order or a trend can be compared, and not an error. Errors are test errors in %, ± one
standard error over seeds. No GPU or TPU has run them. What differs from the papers, and why:
[about the experiments](about_experiments.md).

<a href="report.html">All stored results on one page</a>, their settings and numbers side by side.
"""


def rows(text: str) -> list[dict[str, str]]:
    """The lines of the table between the markers, by the names of the columns."""
    table = text.partition(BEGIN)[2].partition(END)[0].strip().splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in table]
    return [dict(zip(HEAD, line, strict=True)) for line in cells]


def section(row: dict[str, str]) -> str:
    """One experiment: its question as heading, its figure, and a line for each column."""
    found = re.fullmatch(r"\[(.*)\]\((.*)\)", row["question"])
    if found is None:
        raise ValueError(f"got the question {row['question']!r}, expected a link to its figure")
    question, figure = found.groups()
    lines = [f"- **{name}**: {row[name]}" for name in HEAD[1:] if row[name] not in ("-", "not run")]
    return "\n".join([f"## {question}\n", f"![{question}]({figure})\n", *lines])


def further(name: str, question: str) -> str:
    figure = f"../results/{name}/figure.png"
    return f"## {question}\n\n![{question}]({figure})\n\n- **command**: `scripts/run {name}`"


def page(root: Path) -> str:
    text = (root / "experiments" / "README.md").read_text(encoding="utf-8")
    parts = [section(row) for row in rows(text)]
    figures = {path.parent.name for path in (root / "results").glob("*/figure.png")} - ELSEWHERE
    parts += [
        further(name, FURTHER.get(name, name))
        for name in sorted(figures)
        if f"results/{name}/figure.png" not in text
    ]
    return INTRO + "\n" + "\n\n".join(parts) + "\n"
