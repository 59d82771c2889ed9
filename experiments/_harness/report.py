"""One HTML page of results: figures, settings, and numbers side by side; it fetches nothing."""

import base64
import json
import os
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from experiments._harness.cells import Columns, cell, rows_of, tables
from experiments._harness.result import CannotRun, read_result

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; \
style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<article>
<h1>{title}</h1>
<p>Click on the head of a column to sort by it. Point at a number to see all of its digits.</p>
{body}
</article>
<script>{script}</script>
</body>
</html>
"""

STYLE = """
:root { color-scheme: light dark; --text: #1c1c1c; --page: #fff; --line: #ccc; --head: #f0f2f5;
  --link: #0a58ca; }
@media (prefers-color-scheme: dark) { :root { --text: #e4e4e4; --page: #16181c; --line: #444;
  --head: #24282f; --link: #82b1ff; } }
body { margin: 0; color: var(--text); background: var(--page); font: 16px/1.5 sans-serif; }
article { max-width: 70rem; margin: 0 auto; padding: 1rem; overflow-wrap: anywhere; }
a { color: var(--link); }
img { max-width: 100%; height: auto; background: #fff; border-radius: 4px; }
figure { margin: 1rem 0; }
figcaption, summary { color: inherit; }
summary { cursor: pointer; }
.table { overflow-x: auto; margin: .75rem 0; }
table { border-collapse: collapse; font-size: .875rem; overflow-wrap: normal; }
caption { text-align: left; font-weight: bold; padding: .25rem 0; }
th, td { border: 1px solid var(--line); padding: .25rem .5rem; text-align: left;
  vertical-align: top; }
td { font-variant-numeric: tabular-nums; min-width: 4rem; max-width: 24rem; }
thead th { background: var(--head); }
thead button { all: unset; cursor: pointer; }
thead button:focus-visible { outline: 2px solid var(--link); }
[aria-sort=ascending] button::after { content: " \\25B2"; }
[aria-sort=descending] button::after { content: " \\25BC"; }
"""

SCRIPT = """
const value = (row, i) => {
  const cell = row.cells[i], text = cell.dataset.v ?? cell.textContent.trim();
  return text !== "" && !isNaN(text) ? Number(text) : text;
};
const compare = (a, b) => typeof a === "number" && typeof b === "number" ? a - b
  : typeof a === "number" ? -1 : typeof b === "number" ? 1 : a.localeCompare(b);
for (const button of document.querySelectorAll("thead button")) {
  button.addEventListener("click", () => {
    const head = button.closest("th"), body = head.closest("table").tBodies[0];
    const up = head.getAttribute("aria-sort") !== "ascending";
    for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const i = head.cellIndex, rows = [...body.rows];
    rows.sort((a, b) => (up ? 1 : -1) * compare(value(a, i), value(b, i)));
    body.append(...rows);
  });
}
"""


class Stored(NamedTuple):
    """A result and the folder that it is in."""

    folder: Path
    result: dict[str, Any]


def find_results(folders: Iterable[Path]) -> list[Stored]:
    """Read every result.json in the folders, at any depth, each once.

    Raises:
      CannotRun: if a folder has none.
      Unreadable: if one is damaged or incomplete; names it.
    """
    found: dict[Path, Stored] = {}
    for folder in folders:
        if not folder.is_dir():
            raise CannotRun(f"{folder} is not a folder; name one that holds results")
        paths = sorted(folder.rglob("result.json"))
        if not paths:
            raise CannotRun(
                f"{folder} holds no result.json; an experiment writes one: scripts/run quickstart"
            )
        for path in paths:
            found.setdefault(path.resolve(), Stored(path.parent, read_result(path)))
    return list(found.values())


def page(stored: list[Stored], about: dict[str, str]) -> str:
    """Return the page; about has a line on each experiment, as the list of scripts/run has it."""
    experiments: dict[str, list[Stored]] = {}
    for one in stored:
        experiments.setdefault(one.result["experiment"], []).append(one)
    parts = [_overview(experiments)]
    for name, results in sorted(experiments.items()):
        parts.append(_section(name, results, about.get(name, "")))
    title = f"{len(stored)} result{'s' * (len(stored) > 1)} of jaxdrop's experiments"
    return PAGE.format(title=title, style=STYLE, body="\n".join(parts), script=SCRIPT)


def _overview(experiments: dict[str, list[Stored]]) -> str:
    rows = []
    for name, results in sorted(experiments.items()):
        link = f'<th scope="row"><a href="#{escape(name)}">{escape(name)}</a></th>'
        for folder, result in results:
            where, seconds = result["environment"], result.get("seconds")
            cells = (str(folder), seconds, where.get("device"), where.get("jax"))
            rows.append(link + "".join(map(cell, cells)))
    return _table("All", ("experiment", "folder", "seconds", "device", "jax"), rows)


def _section(name: str, stored: list[Stored], about: str) -> str:
    """Return one experiment's part: its results are columns beside each other."""
    several = len(stored) > 1
    labels = _labels([folder for folder, _ in stored])
    parts = [f'<section id="{escape(name)}"><h2>{escape(name)}</h2><p>{escape(about)}</p>']
    parts += [_figure(folder) for folder, _ in stored]
    for part in ("config", "environment"):
        columns = {
            label: {k: _one_value(v) for k, v in result[part].items()}
            for label, (_, result) in zip(labels, stored, strict=True)
        }
        title = {"config": "Settings", "environment": "Where it ran"}[part]
        parts.append(f"<details><summary>{title}</summary>{_side_by_side('', columns)}</details>")
    merged: dict[str, Columns] = {}
    for label, (_, result) in zip(labels, stored, strict=True):
        for title, columns in tables(result["numbers"]):
            for column, values in columns.items():
                head = label if column == "value" else column
                head += f" ({label})" if several and head == column else ""
                merged.setdefault(title, {})[head] = values
    parts += [_side_by_side(title or "numbers", columns) for title, columns in merged.items()]
    return "\n".join([*parts, "</section>"])


def _labels(folders: list[Path]) -> list[str]:
    """Name folders by what sets them apart."""
    if len(folders) == 1:
        return ["value"]
    common = os.path.commonpath([folder.resolve() for folder in folders])
    return [os.path.relpath(folder.resolve(), common) for folder in folders]


def _one_value(setting: Any) -> Any:
    return json.dumps(setting) if isinstance(setting, dict | list) else setting


def _figure(folder: Path) -> str:
    path = folder / "figure.png"
    caption = f"<figcaption>{escape(str(path))}</figcaption>"
    if not path.is_file():
        return f"<p>No figure.png is in {escape(str(folder))}.</p>"
    data = base64.b64encode(path.read_bytes()).decode()
    alt = f"figure of {escape(str(folder))}"
    return f'<figure><img alt="{alt}" src="data:image/png;base64,{data}">{caption}</figure>'


def _side_by_side(title: str, columns: Columns) -> str:
    """Return a table of named columns, the longer way down."""
    names = rows_of(columns)
    if len(columns) >= len(names) > 1:  # sorted by a quantity
        columns = {n: {c: v[n] for c, v in columns.items() if n in v} for n in names}
        names = rows_of(columns)
    rows = [
        f'<th scope="row">{escape(name)}</th>'
        + "".join(
            cell(values[name]) if name in values else "<td></td>" for values in columns.values()
        )
        for name in names
    ]
    return _table(title, ("", *columns), rows)


def _table(title: str, head: Iterable[str], rows: list[str]) -> str:
    caption = f"<caption>{escape(title)}</caption>" if title else ""
    heads = "".join(
        f'<th scope="col"><button type="button">{escape(h or "name")}</button></th>' for h in head
    )
    body = "\n".join(f"<tr>{row}</tr>" for row in rows)
    return (
        f'<div class="table"><table>{caption}<thead><tr>{heads}</tr></thead>'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )
