"""Make one HTML page of all results in folders: figures, settings, numbers side by side.

    scripts/run report [FOLDER ...] [--out FILE] [--open]

Without a folder: the stored results, results/. Results of the same experiment are columns beside
each other, so `scripts/run report results/sweep out/sweep` compares one's own with the stored. The
page is a single file that needs no network; its tables are sorted by a click.
"""

import os
from pathlib import Path
from typing import Annotated

import tyro

from experiments.__main__ import find_experiments
from experiments._harness.ending import politely
from experiments._harness.open_file import Open, open_file
from experiments._harness.report import find_results, page
from experiments._harness.result import prepare_folder, whole_file

STORED = Path(__file__).parents[2] / "results"


def main(argv: list[str]) -> int:
    def command(
        folders: Annotated[
            tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(help="Searched at any depth.")
        ] = (),
        out: Annotated[Path, tyro.conf.arg(help="The page.")] = Path("out/report.html"),
        open: Open = False,
    ) -> int:
        results = find_results(folders or (Path(os.path.relpath(STORED)),))
        prepare_folder(out.parent)
        with whole_file(out) as partial:
            partial.write_text(page(results, find_experiments()), encoding="utf-8")
        print(f"{len(results)} result{'s' * (len(results) > 1)}: {out}")
        if open:
            open_file(out)
        return 0

    return politely(
        lambda: tyro.cli(command, args=argv, prog="scripts/run report", description=__doc__),
        lambda: "No page was written.",
    )
