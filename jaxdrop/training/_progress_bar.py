"""A progress bar: how much is done, how fast, how long the rest will take."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import jax
import rich.progress
from rich.console import Console
from rich.text import Text


class Speed(rich.progress.ProgressColumn):
    """Ticks per second over the last half minute."""

    def render(self, task: rich.progress.Task) -> Text:
        return Text(f"{task.speed:.1f}/s" if task.speed and task.speed >= 0.1 else "")


@contextmanager
def progress_bar(title: str, total: int, done: int = 0) -> Iterator[Callable[..., None]]:
    """Show a bar on standard error; yield the function that moves it.

    ``tick()`` moves it by one, ``tick(n)`` by n. Of several processes the first shows its bar.

    Args:
      title: what stands before the count.
      total: how many ticks there will be.
      done: how many there were before.
    """
    columns = (
        rich.progress.TextColumn("{task.description}"),
        rich.progress.MofNCompleteColumn(),
        rich.progress.BarColumn(),
        Speed(),
        rich.progress.TimeRemainingColumn(),
        rich.progress.TextColumn("left"),
    )
    with rich.progress.Progress(
        *columns,
        console=Console(stderr=True),
        transient=True,
        disable=jax.process_index() != 0,
    ) as bar:
        task = bar.add_task(title, total=total, completed=done)
        yield lambda n=1: bar.advance(task, n)
        jax.effects_barrier()  # the last ticks may be on their way in callbacks
