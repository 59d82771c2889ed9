"""What every experiment's command does: options, folder, progress bar, files, polite endings."""

import dataclasses
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import jax
import rich.progress
import tyro
from rich.console import Console

from experiments._result import (
    CannotRun,
    environment,
    prepare_folder,
    replacing,
    write_result,
)

INTERRUPTED = 130  # what a shell reports for Ctrl-C


def politely(work: Callable[[], int]) -> int:
    """Call work; turn a reason not to run, or Ctrl-C, into a sentence and an exit code."""
    try:
        return work()
    except CannotRun as reason:
        print(reason, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            "Stopped. Nothing of this run was saved; earlier results are as they were.",
            file=sys.stderr,
        )
        return INTERRUPTED


@contextmanager
def progress_bar(title: str, total: int) -> Iterator[Callable[[], None]]:
    """Show a bar with the time left on standard error; yield the function that moves it."""
    columns = (
        rich.progress.TextColumn("{task.description}"),
        rich.progress.BarColumn(),
        rich.progress.TaskProgressColumn(),
        rich.progress.TimeRemainingColumn(),
        rich.progress.TextColumn("left"),
    )
    with rich.progress.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=total)
        yield lambda: bar.advance(task)
        jax.effects_barrier()


def run_command(
    name: str,
    description: str,
    argv: list[str],
    config_type: type,
    run: Callable[..., dict[str, Any]],
    ticks: Callable[[Any], int],
    check: Callable[[Any], None],
    show: Callable[[dict[str, Any], Console], None],
    draw: Callable[[dict[str, Any], Path], None],
) -> int:
    """Run an experiment from its command line and store what came out.

    Args:
      name: the experiment's name, as ``scripts/run`` knows it.
      description: what --help says first.
      argv: what was typed after the name.
      config_type: a frozen dataclass with a default for every field.
      run: ``run(config, tick) -> {"numbers": ..., "digests": ...}``.
      ticks: how often run will call tick.
      check: raises CannotRun for a config that cannot be run.
      show: prints a result on a console.
      draw: draws a result to a PNG file.

    Returns:
      The exit code.
    """

    options = dataclasses.make_dataclass(
        name,
        [
            ("config", config_type),
            (
                "out",
                Annotated[Path, tyro.conf.arg(help="Folder for result.json and figure.png.")],
                Path("out") / name,
            ),
        ],
    )

    def command() -> int:
        chosen: Any = tyro.cli(
            options,
            args=argv,
            prog=f"scripts/run {name}",
            description=description,
            config=(tyro.conf.OmitArgPrefixes,),
        )
        config, out = chosen.config, chosen.out
        check(config)
        folder = prepare_folder(out)
        start = time.perf_counter()
        with progress_bar(name, ticks(config)) as tick:
            outcome = run(config, tick)
        result = {
            "experiment": name,
            "config": dataclasses.asdict(config),
            "environment": environment(),
            "seconds": round(time.perf_counter() - start, 1),
            **outcome,
        }
        write_result(folder / "result.json", result)
        with replacing(folder / "figure.png") as partial:
            draw(result, partial)
        console = Console()
        show(result, console)
        console.print(f"Stored: {folder / 'result.json'}, {folder / 'figure.png'}", soft_wrap=True)
        return 0

    return politely(command)
