"""What every experiment's command does: options, folder, progress bar, files, polite endings.

An experiment is a module with ``Config``, ``check``, ``ticks`` and ``run``. One that can be stopped
and go on also has ``resume_point``; its ``run`` takes one more argument, the folder in which it
keeps what is done. ``_unfinished`` says how; ``reproduce`` needs nothing more.
"""

import dataclasses
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import jax
import rich.progress
import tyro
from rich.console import Console

from experiments._processes import Processes, agree, connect, is_first
from experiments._result import (
    CannotRun,
    environment,
    prepare_folder,
    replacing,
    write_result,
)
from experiments._unfinished import open_unfinished, say_where
from jaxdrop.training import CheckpointError

INTERRUPTED = 130  # what a shell reports for Ctrl-C
TERMINATED = 143  # and for SIGTERM
LOST = "Nothing of this run was saved; earlier results are as they were."


class Terminated(KeyboardInterrupt):
    """SIGTERM, which ends an experiment as politely as Ctrl-C does."""


def politely(work: Callable[[], int], what_is_left: Callable[[], str] = lambda: LOST) -> int:
    """Call work; turn a reason not to run, Ctrl-C or SIGTERM into a sentence and an exit code."""
    main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, _terminate) if main else None
    try:
        return work()
    except (CannotRun, CheckpointError) as reason:
        print(reason, file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print(f"Stopped. {what_is_left()}", file=sys.stderr)
        return TERMINATED if isinstance(stop, Terminated) else INTERRUPTED
    finally:
        if main:
            signal.signal(signal.SIGTERM, before)


def _terminate(number: int, frame: Any) -> None:
    raise Terminated


@contextmanager
def progress_bar(title: str, total: int) -> Iterator[Callable[..., None]]:
    """Show a bar with the time left on standard error; yield the function that moves it.

    ``tick()`` moves it by one, ``tick(n)`` by n at once, as a resumed run does.
    """
    columns = (
        rich.progress.TextColumn("{task.description}"),
        rich.progress.BarColumn(),
        rich.progress.TaskProgressColumn(),
        rich.progress.TimeRemainingColumn(),
        rich.progress.TextColumn("left"),
    )
    console = Console(stderr=True)
    with rich.progress.Progress(
        *columns, console=console, transient=True, disable=not is_first()
    ) as bar:
        task = bar.add_task(title, total=total)
        yield lambda n=1: bar.advance(task, n)
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
    resume_point: Callable[[Any, Path], str | None] | None = None,
    processes: bool = False,
) -> int:
    """Run an experiment from its command line and store what came out.

    Args:
      name: the experiment's name, as ``scripts/run`` knows it.
      description: what --help says first.
      argv: what was typed after the name.
      config_type: a frozen dataclass with a default for every field.
      run: ``run(config, tick) -> {"numbers": ..., "digests": ...}``; with resume_point
        ``run(config, tick, folder)``.
      ticks: how often run will call tick.
      check: raises CannotRun for a config that cannot be run.
      show: prints a result on a console.
      draw: draws a result to a PNG file.
      resume_point: ``resume_point(config, folder)`` says how far a run came; see ``_unfinished``.
      processes: whether run knows how to share the work with other processes; see ``_processes``.

    Returns:
      The exit code.
    """

    out_type = Annotated[Path, tyro.conf.arg(help="Folder for result.json and figure.png.")]
    fields: list[Any] = [("config", config_type), ("out", out_type, Path("out") / name)]
    if processes:
        fields.append(("processes", Processes, Processes()))
    options = dataclasses.make_dataclass(name, fields)
    left = [lambda: LOST]

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
        if processes:
            connect(chosen.processes)
            agree("options", repr((config, out)))
        folder = prepare_folder(out)
        unfinished, extra, began = None, (), {}
        if resume_point:
            if is_first():  # the others find what it made
                unfinished = open_unfinished(folder, name, config)
                say_where(name, unfinished, resume_point(config, unfinished.work))
            agree("folders", str(folder))
            unfinished = unfinished or open_unfinished(folder, name, config)
            extra, began = (unfinished.work,), unfinished.began_elsewhere()
            left[0] = lambda: _how_far(unfinished.work, resume_point(config, unfinished.work))
        start = time.perf_counter()
        try:
            with progress_bar(name, ticks(config)) as tick:
                outcome = run(config, tick, *extra)
        except BaseException:
            empty = resume_point and not resume_point(config, unfinished.work)
            if empty and is_first():
                unfinished.remove()  # nothing is in it, and other settings may come next
            raise
        agree("experiments", name)  # all of them are done
        if not is_first():
            return 0
        result = {
            "experiment": name,
            "config": dataclasses.asdict(config),
            "environment": environment(),
            **({"began_with": began} if began else {}),
            "seconds": round(time.perf_counter() - start, 1),
            **outcome,
        }
        write_result(folder / "result.json", result)
        with replacing(folder / "figure.png") as partial:
            draw(result, partial)
        if unfinished:
            unfinished.remove()
        console = Console()
        show(result, console)
        console.print(f"Stored: {folder / 'result.json'}, {folder / 'figure.png'}", soft_wrap=True)
        return 0

    return politely(command, lambda: left[0]())


def _how_far(work: Path, point: str | None) -> str:
    return f"The same command goes on from {point}; saved in {work}." if point else LOST
