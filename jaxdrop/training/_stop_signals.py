"""Stop signals: SIGTERM and Ctrl-C end a run after the step that is under way, saved."""

import itertools
import signal
import sys
import threading
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, NoReturn, Self

import jax

_CALLS = itertools.count()


class Stopped(SystemExit):
    """A run was asked to stop, and has saved itself.

    A ``SystemExit``: a program that does not catch it ends with exit code ``128 + signal``, which
    is 143 after SIGTERM and 130 after Ctrl-C.

    Attributes:
      step: the step that was saved.
    """

    def __init__(self, number: int, step: int):
        super().__init__(128 + number)
        self.step = step


class StopSignals:
    """``with StopSignals() as stop``: remember a SIGTERM or Ctrl-C instead of dying of it.

    A second signal has its usual effect. Signals reach the main thread only; in another thread
    this does nothing. With several processes, jax itself watches for SIGTERM, so that all of them
    stop after the same step although one alone may have been told.
    """

    number: int | None = None

    def __enter__(self) -> Self:
        self._before: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread() and jax.process_count() == 1:
            for number in (signal.SIGTERM, signal.SIGINT):
                self._before[number] = signal.signal(number, self._remember)
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
                "goes on from there.",
                file=sys.stderr,
            )
        raise Stopped(self.number or 0, step)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self.number = number
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
