"""Run a stored result again and say whether every number came out identical.

    scripts/run reproduce DIR/result.json

Exit code 0: every number and every parameter digest is the same. 1: some differ, and a table says
which. 2: it could not be run. It takes as long as the run that made the file.

Bits depend on versions and on the device (a matrix product may be summed in another order), so
these are compared too, and differences are named.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.table import Table

from experiments.__main__ import find_experiments
from experiments._harness.ending import politely
from experiments._harness.environment import environment
from experiments._harness.experiment import load_experiment
from experiments._harness.result import (
    CannotRun,
    prepare_folder,
    read_result,
    restore_config,
    write_result,
)
from jaxdrop.training._progress_bar import progress_bar

ROWS = 20


def main(argv: list[str]) -> int:
    def command(
        result: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(help="A result.json.")],
    ) -> int:
        return reproduce(result, Console())

    return politely(
        lambda: tyro.cli(command, args=argv, prog="scripts/run reproduce", description=__doc__)
    )


def reproduce(path: Path, console: Console) -> int:
    """Rerun the experiment that a result.json describes; return 0 if all is identical, else 1."""
    old = read_result(path)
    name, experiments = old["experiment"], find_experiments()
    if name not in experiments:
        raise CannotRun(
            f"{path} is a result of the experiment {name!r}, which is not one that can be "
            f"reproduced here; the experiments are {', '.join(experiments)}"
        )
    experiment = load_experiment(name)
    config = restore_config(experiment.Config, old["config"], path)
    experiment.check(config)
    with (
        tempfile.TemporaryDirectory() as folder,
        progress_bar(f"reproduce {name}", experiment.ticks(config)) as tick,
    ):
        work = prepare_folder(Path(folder) / "work", "TMPDIR")
        # Through a file, so that numbers are compared in the form in which they are stored.
        file = Path(folder) / "result.json"
        write_result(
            file,
            {
                "experiment": name,
                "config": old["config"],
                "environment": environment(),
                **experiment.outcome(config, tick, work),
            },
        )
        new = read_result(file)
    return report(old, new, console)


def report(old: dict[str, Any], new: dict[str, Any], console: Console) -> int:
    """Print the answer."""
    was, now = (
        dict(leaves({part: result[part] for part in ("numbers", "digests")}))
        for result in (old, new)
    )
    wrong = [path for path in sorted(was | now) if was.get(path) != now.get(path)]
    for name in sorted(old["environment"] | new["environment"]):
        before, after = old["environment"].get(name), new["environment"].get(name)
        if before != after:
            console.print(f"Different {name}: {before} then, {after} now.", markup=False)
    digests = sum(path.startswith("digests") for path in now)
    if not wrong:
        console.print(
            f"Identical: all {len(now) - digests} numbers and {digests} digests of "
            f"{old['experiment']}."
        )
        return 0
    table = Table(title=f"{len(wrong)} of {len(was | now)} values differ")
    for column in ("value", "then", "now"):
        table.add_column(column, overflow="fold")
    for path in wrong[:ROWS]:
        table.add_row(path, short(was.get(path)), short(now.get(path)))
    console.print(table)
    if len(wrong) > ROWS:
        console.print(f"... and {len(wrong) - ROWS} more.")
    return 1


def leaves(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (path, value) for every value in nested dicts and lists."""
    if isinstance(tree, dict | list):
        items = tree.items() if isinstance(tree, dict) else enumerate(tree)
        for name, branch in items:
            yield from leaves(branch, f"{path}.{name}" if path else str(name))
    else:
        yield path, tree


def short(value: Any) -> str:
    return "(absent)" if value is None else str(value)[:24]
