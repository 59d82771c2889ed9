"""What every experiment's command does: options, folder, progress bar, files, polite endings.

An experiment is a module with ``Config``, ``check``, ``ticks`` and ``run``. One that can be stopped
and go on also has ``resume_point``; its ``run`` takes one more argument, the folder in which it
keeps what is done. ``unfinished`` says how; ``reproduce`` needs nothing more.
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

from experiments._harness.processes import Processes, agree, connect, is_first
from experiments._harness.result import (
    CannotRun,
    environment,
    prepare_folder,
    replacing,
    write_result,
)
from experiments._harness.unfinished import open_unfinished, say_where
from jaxdrop.training import CheckpointError
from jaxdrop.training._folder_lock import held, refused_by_any
from jaxdrop.training._typed_json import Unreadable

LOST = "Nothing of this run was saved; earlier results are as they were."


def politely(work: Callable[[], int], what_is_left: Callable[[], str] = lambda: LOST) -> int:
    """Call work; turn a reason not to run, or to stop, into a sentence and an exit code.

    Reasons are CannotRun and its like (2), a file that cannot be read or written (2), Ctrl-C (130)
    and SIGTERM (143), which a shell reports by the same numbers.
    """
    with _signals() as came:
        try:
            return work()
        except (CannotRun, CheckpointError, Unreadable) as reason:
            print(reason, file=sys.stderr)
            return 2
        except BaseException as error:
            # jax makes an error of its own out of a KeyboardInterrupt in a callback.
            if came or isinstance(error, KeyboardInterrupt):
                print(f"Stopped. {what_is_left()}", file=sys.stderr)
                return 128 + (came[-1] if came else signal.SIGINT)
            if not isinstance(error, OSError):
                raise
            file = error.filename or "a file"
            reason = f"{file} cannot be read or written ({error.strerror or error})"
            print(f"{reason}. {what_is_left()}", file=sys.stderr)
            return 2


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Let SIGTERM stop the work as Ctrl-C does; yield the list of those that came."""
    came: list[int] = []

    def stop(number: int, frame: Any) -> None:
        came.append(number)
        raise KeyboardInterrupt

    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            if signal.getsignal(number) is not signal.SIG_IGN:  # as in a shell's background
                before[number] = signal.signal(number, stop)
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


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
      resume_point: ``resume_point(config, folder)`` says how far a run came; see ``unfinished``.
      processes: whether run knows how to share the work with other processes; see ``processes``.

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
        with held(folder, f"scripts/run {name}"):
            return work(config, folder)

    def work(config: Any, folder: Path) -> int:
        unfinished, refused, extra, began = None, None, (), {}
        if resume_point:
            if is_first():  # the others find what it made
                try:
                    unfinished = open_unfinished(folder, name, config)
                    say_where(name, unfinished, resume_point(config, unfinished.work))
                except CannotRun as reason:
                    refused = CheckpointError(str(reason))
            if refused := refused_by_any(refused, folder):
                raise refused
            unfinished = unfinished or open_unfinished(folder, name, config)
            extra, began = (unfinished.work,), unfinished.began_elsewhere()
            left[0] = lambda: _how_far(unfinished.work, lambda at: resume_point(config, at))
        start = time.perf_counter()
        try:
            with progress_bar(name, ticks(config)) as tick:
                outcome = run(config, tick, *extra)
        except BaseException as error:
            if unfinished and unfinished.new and is_first() and left[0]() == LOST:
                unfinished.remove()  # nothing is in it, and other settings may come next
            elif unfinished and isinstance(error, CannotRun):
                raise CannotRun(f"{error}. {left[0]()}") from error
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
        stored, figure = folder / "result.json", folder / "figure.png"
        write_result(stored, result)
        left[0] = lambda: f"The numbers are stored in {stored}."
        try:
            with replacing(figure) as partial:
                draw(result, partial)
        except CannotRun as error:
            raise CannotRun(f"{error}. {left[0]()}") from error
        if unfinished:
            unfinished.remove()
        console = Console()
        show(result, console)
        console.print(f"Stored: {stored}, {figure}", soft_wrap=True)
        return 0

    return politely(command, lambda: left[0]())


def _how_far(folder: Path, resume_point: Callable[[Path], str | None]) -> str:
    """Say what is saved in a folder for work in progress."""
    try:
        point = resume_point(folder)
    except (CannotRun, CheckpointError, Unreadable, OSError):
        return f"What was saved is in {folder}."
    return f"The same command goes on from {point}; saved in {folder}." if point else LOST
