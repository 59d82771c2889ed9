"""Run a stored result again and say whether every number came out identical.

    scripts/run reproduce DIR/result.json

Exit code 0: every number and every parameter digest is the same. 1: some differ, and a table says
which, and by how much. 2: it could not be run. It takes as long as the run that made the file.

Bits depend on versions, device, driver and flags (a matrix product may be summed in another
order), so these are compared too, and differences are named.
"""

import tempfile
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.table import Table

from experiments.__main__ import find_experiments
from experiments._harness.command import FastKernels
from experiments._harness.difference import Difference, differences, leaves
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
SINCE = {"fast_kernels", "matmul_precision", "xla_flags"}  # not in the oldest results


def main(argv: list[str]) -> int:
    def command(
        result: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(help="A result.json.")],
        fast_kernels: FastKernels = False,  # for --help: choose_kernels has read it
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
    then, now = old["environment"], new["environment"]
    changed = [n for n in sorted(then | now) if n in then or n not in SINCE]
    changed = [n for n in changed if then.get(n) != now.get(n)]
    for name in changed:
        line = f"Different {name}: {then.get(name, 'none')} then, {now.get(name, 'none')} now."
        console.print(line, markup=False, soft_wrap=True)
    if unknown := sorted(SINCE & set(now) - set(then)):
        console.print(f"Not recorded then: {', '.join(unknown)}.", soft_wrap=True)
    numbers, digests = (
        [dict(leaves(result[part], part)) for result in (old, new)]
        for part in ("numbers", "digests")
    )
    wrong, odd = differences(*numbers), differences(*digests)
    if not wrong and not odd:
        console.print(
            f"Identical: all {len(numbers[1])} numbers and {len(digests[1])} digests of "
            f"{old['experiment']}."
        )
        return 0
    if wrong:
        console.print(table(wrong, len(numbers[0] | numbers[1])))
        if len(wrong) > ROWS:
            most = f"{wrong[ROWS].relative:.2g}"
            console.print(f"... and {len(wrong) - ROWS} more, by at most {most} (relative).")
    if odd:
        names = ", ".join(one.name for one in odd[:ROWS])
        more = f" and {len(odd) - ROWS} more" if len(odd) > ROWS else ""
        console.print(
            f"Parameters differ: {len(odd)} of {len(digests[0] | digests[1])} digests "
            f"({names}{more}).",
            soft_wrap=True,
        )
    console.print(reason(changed, then, now), soft_wrap=True)
    return 1


def reason(changed: list[str], then: dict[str, Any], now: dict[str, Any]) -> str:
    """Say in a sentence why numbers differ; changed names the parts of the environment that do."""
    may = "numbers may differ from the last digit on, and training amplifies that."
    if fast := [w for w, e in (("then", then), ("now", now)) if e.get("fast_kernels")]:
        when = " and ".join(fast)
        return f"Fast kernels {when}: the order of sums may be another in every run; {may}"
    if parts := [name for name in changed if name != "commit"]:
        return f"Bits depend on {', '.join(parts)}: {may}"
    return (
        "Device, versions and flags are the same as far as they are recorded, so the numbers "
        "should be, too; was the code changed?"
    )


def table(wrong: list[Difference], total: int) -> Table:
    """Lay out the largest differences, each in its own units."""
    found = Table(title=f"{len(wrong)} of {total} numbers differ, the largest (relative) first")
    for column in ("number", "then", "now", "difference", "relative"):
        found.add_column(column, overflow="fold")
    for one in wrong[:ROWS]:
        amounts = ["", ""]
        if one.absolute is not None:
            amounts = [f"{one.absolute:+.3g}", f"{one.relative:.2g}"]
        found.add_row(one.name, short(one.then), short(one.now), *amounts)
    return found


def short(value: Any) -> str:
    return "not a number" if value is None else str(value)[:24]
