"""The report of scripts/kill_and_resume: a table in the terminal, a page, and a figure."""

from pathlib import Path
from typing import Any

from rich.table import Table

WHERE = {"inside a write": "#d55e00", "between writes": "#0072b2", "during start": "#999999"}
COLUMNS = ("killed", "kills", *WHERE, "rounds", "saved work lost", "digests that differ")


def counts(report: dict[str, Any]) -> list[list[Any]]:
    """Return a row for each subject and one for all of them, in the order of COLUMNS."""
    rows = []
    for name, part in report["subjects"].items():
        kills = part["kills"]
        where = [sum(row["where"] == place for row in kills) for place in WHERE]
        lost = sum(row["lost"] for row in kills)
        rows.append([name, len(kills), *where, part["rounds"], lost, len(part["differ"])])
    return [*rows, ["all", *(sum(column) for column in list(zip(*rows, strict=True))[1:])]]


def table(report: dict[str, Any]) -> Table:
    """Return the counts as a table for a terminal."""
    made = Table(title="Killed by SIGKILL, resumed, compared with runs left alone")
    for i, column in enumerate(COLUMNS):
        made.add_column(column, justify="right" if i else "left")
    for row in counts(report):
        made.add_row(*map(str, row))
    return made


def markdown(report: dict[str, Any]) -> str:
    """Return the page."""
    rows = counts(report)
    verdict = "BROKEN."
    if report["holds"]:
        verdict = (
            "No saved work was lost, and every result is bit for bit that of a run left alone."
        )
    lines = [
        "# Runs that are killed and resumed",
        "",
        f"Written by `scripts/kill_and_resume --kills {rows[-1][1]} --seed {report['seed']}` in "
        f"{report['seconds']} s. {verdict} "
        "A kill is inside a write if it left a file half written.",
        "",
        f"| {' | '.join(COLUMNS)} |",
        f"| --- |{' ---: |' * (len(COLUMNS) - 1)}",
        *(f"| {' | '.join(map(str, row))} |" for row in rows),
        "",
        "![What was saved at every kill](figure.png)",
        "",
    ]
    for name, part in report["subjects"].items():
        lines.append(
            f"- **{name}**: {part['title']}. Rounds that came to their end: {part['rounds']}; "
            f"digests compared in each: {part['compared']}."
        )
    return "\n".join(lines) + "\n"


def draw(report: dict[str, Any], path: Path) -> None:
    """Draw what was saved when each kill came, and where that kill fell."""
    from matplotlib.figure import Figure  # slow to import, and only needed here
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(8, 6), layout="constrained")
    panels = figure.subplots(len(report["subjects"]), 1)
    for axes, (name, part) in zip(panels, report["subjects"].items(), strict=True):
        for number in range(part["rounds"]):
            kills = [(i, k) for i, k in enumerate(part["kills"], 1) if k["round"] == number]
            axes.plot(
                [i for i, _ in kills],
                [k["saved_after"] for _, k in kills],
                color="#cccccc",
                zorder=0,
            )
        for where, colour in WHERE.items():
            points = [
                (i, k["saved_after"]) for i, k in enumerate(part["kills"], 1) if k["where"] == where
            ]
            axes.scatter(*zip(*points, strict=True) if points else ([], []), s=22, color=colour,
                         label=where)  # fmt: skip
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set(ylabel=f"{name}:\n{part['saves']} saved", ylim=(0, None))
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].legend(frameon=False, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1))
    panels[-1].set_xlabel("kill; a line joins those of one run")
    figure.savefig(path, dpi=150, format="png", metadata={"Software": None})
