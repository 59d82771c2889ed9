"""Polite endings: a reason not to run, or to stop, is a sentence and an exit code."""

import signal
import sys
from collections.abc import Callable

from experiments._harness.result import CannotRun
from jaxdrop.training import CheckpointError
from jaxdrop.training._stop_signals import on_stop_signals
from jaxdrop.training._typed_json import Unreadable

LOST = "Nothing of this run was saved; earlier results are as they were."


def politely(work: Callable[[], int], what_is_left: Callable[[], str] = lambda: LOST) -> int:
    """Call work; turn a reason not to run, or to stop, into a sentence and an exit code.

    Reasons are CannotRun and its like (2), a file that cannot be read or written (2), Ctrl-C (130)
    and SIGTERM (143), which a shell reports by the same numbers.
    """
    came: list[int] = []

    def stop(number: int) -> None:
        came.append(number)
        raise KeyboardInterrupt

    restore = on_stop_signals(stop)
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
        said = f"{file} cannot be read or written ({error.strerror or error})"
        print(f"{said}. {what_is_left()}", file=sys.stderr)
        return 2
    finally:
        restore()
