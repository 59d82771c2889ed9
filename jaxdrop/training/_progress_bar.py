"""A progress bar for steps: how many are done, how fast, how long it will take."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import rich.progress
from rich.console import Console
from rich.text import Text


class Speed(rich.progress.ProgressColumn):
    """Steps per second over the last half minute."""

    def render(self, task: rich.progress.Task) -> Text:
        return Text(f"{task.speed:.1f} steps/s" if task.speed else "")


@contextmanager
def step_bar(total: int, done: int) -> Iterator[Callable[[int], None]]:
    """Show a bar on standard error that begins at done; yield what moves it by n steps."""
    columns = (
        rich.progress.TextColumn("step"),
        rich.progress.MofNCompleteColumn(),
        rich.progress.BarColumn(),
        Speed(),
        rich.progress.TimeRemainingColumn(),
        rich.progress.TextColumn("left"),
    )
    with rich.progress.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total, completed=done)
        yield lambda steps: bar.advance(task, steps)
