"""Write the table in experiments/README.md from the stored results: question, numbers, match.

    scripts/run tables [--check]

It reads results/EXPERIMENT/result.json of every experiment with a ``readme_line`` and replaces the
text between the two markers in experiments/README.md. With --check it changes nothing and says
whether the file is up to date (exit code 1 if it is not).
"""

import sys
from pathlib import Path
from typing import Annotated, Any

import tyro

from experiments.__main__ import find_experiments
from experiments._harness.ending import politely
from experiments._harness.experiment import load_experiment
from experiments._harness.markdown import between, row
from experiments._harness.result import CannotRun, read_result, whole_file
from experiments._harness.summary import Summary

ROOT = Path(__file__).parents[2]
README = ROOT / "experiments" / "README.md"
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"
HEAD = (
    "question",
    "from",
    "command",
    "time on 2 cores",
    "on an H200",
    "published",
    "ours",
    "seeds",
    "match?",
)


def main(argv: list[str]) -> int:
    def command(
        check: Annotated[
            bool, tyro.conf.arg(help="Change nothing; say if it is up to date.")
        ] = False,
    ) -> int:
        text = README.read_text(encoding="utf-8")
        wanted = with_table(text, table(ROOT / "results"))
        if check:
            same = wanted == text
            print(f"{README.name} is {'up to date' if same else 'not what the results say'}.")
            return 0 if same else 1
        with whole_file(README) as partial:
            partial.write_text(wanted, encoding="utf-8")
        print(f"Written: {README}", file=sys.stderr)
        return 0

    return politely(
        lambda: tyro.cli(command, args=argv, prog="scripts/run tables", description=__doc__)
    )


def with_table(text: str, lines: list[str]) -> str:
    """Return the text with the lines between the markers.

    Raises:
      CannotRun: if the markers are not there.
    """
    page = between(text, BEGIN, END, "\n".join(lines))
    if page is None:
        raise CannotRun(f"{README} lacks the markers {BEGIN} and {END}")
    return page


def table(results: Path) -> list[str]:
    """Return the lines of the table: one per experiment that has a readme_line and a result."""
    lines = [row(HEAD), row(["---"] * len(HEAD))]
    for name in find_experiments():
        path = results / name / "result.json"
        if not path.is_file():
            continue
        readme_line, result = load_experiment(name).readme_line, read_result(path)
        if readme_line:
            lines.append(row(cells(name, readme_line(result), result)))
    return lines


def cells(name: str, one: Summary, result: dict[str, Any]) -> list[str]:
    """Return one line's cells; all numbers come from the result."""
    config = result["config"]
    preset = config.get("preset")
    command = f"`scripts/run {name}{f' --preset {preset}' if preset else ''}`"
    return [
        f"[{one.question}](../results/{name}/figure.png)",
        one.source,
        command,
        "not timed: resumed" if "began_with" in result else minutes(result["seconds"]),
        "not run",
        one.published,
        one.ours,
        str(config["seeds"]),
        one.match,
    ]


def minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
