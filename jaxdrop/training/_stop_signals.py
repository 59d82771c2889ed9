"""Stop signals: SIGTERM and Ctrl-C end a run after the step that is under way, saved."""

import itertools
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

import jax

_CALLS = itertools.count()


class Stopped(SystemExit):
    """A run was asked to stop, and has saved itself.

    A ``SystemExit``: a program that does not catch it ends with exit code ``128 + signal``, which
    is 143 after SIGTERM and 130 after Ctrl-C.

    Attributes:
      step: the step that was saved.

    >>> import signal, jaxdrop.training as jt
    >>> stopped = jt.Stopped(signal.SIGTERM, step=7)
    >>> stopped.code, stopped.step
    (143, 7)
    """

    def __init__(self, number: int, step: int):
        super().__init__(128 + number)
        self.step = step


def on_stop_signals(handler: Callable[[int], None]) -> Callable[[], None]:
    """Call ``handler(number)`` on SIGTERM and Ctrl-C; return the function that ends this.

    Signals reach the main thread only; in another thread this does nothing. A signal that is
    ignored stays so, as Ctrl-C is in what a shell runs in the background.
    """
    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            handled = signal.getsignal(number)
            if handled not in (signal.SIG_IGN, None):  # None: not Python's to put back
                before[number] = handled
                signal.signal(number, lambda number, frame: handler(number))

    def restore() -> None:
        while before:
            signal.signal(*before.popitem())

    return restore


class StopSignals:
    """``with StopSignals() as stop``: remember a SIGTERM or Ctrl-C instead of ending at once.

    A second signal has its usual effect. With several processes, jax itself watches for SIGTERM,
    so that all of them stop after the same step even if only one was signalled.
    """

    number: int | None = None

    def __enter__(self) -> Self:
        self._restore: Callable[[], None] = lambda: None
        if jax.process_count() == 1:
            self._restore = on_stop_signals(self._remember)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._restore()
        if kind is None and self.number is not None:
            signal.raise_signal(self.number)  # it came too late to stop this run

    def asked(self) -> bool:
        """Say whether to stop after this step; with several processes, all say the same."""
        if jax.process_count() > 1:
            from jax.experimental import multihost_utils

            # The number may never fall, also not from one run to the next.
            if multihost_utils.reached_preemption_sync_point(next(_CALLS)):
                self.number = signal.SIGTERM
        return self.number is not None

    def end(self, step: int, total: int, place: Path) -> NoReturn:
        """Say where the run is saved, and raise Stopped."""
        if jax.process_index() == 0:
            print(
                f"Stopped after step {step} of {total}, which is saved in {place}. The same call "
                "resumes from there.",
                file=sys.stderr,
            )
        raise Stopped(self.number or 0, step)

    def _remember(self, number: int) -> None:
        self.number = number
        self._restore()
