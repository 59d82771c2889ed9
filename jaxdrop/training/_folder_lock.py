"""held: one process at a time uses a folder; the lock ends with the process, however it ends."""

import datetime
import errno
import os
import shlex
import socket
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import IO, Any

import jax
import numpy as np

from jaxdrop.training._checkpoint_error import CheckpointError, not_writable

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]  # a module by its type; its users ask for None first

NAME = ".jaxdrop-lock"  # not the name of anybody else's file
_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}
_HELD: set[IO[bytes]] = set()  # by this process: one file per folder that is in use, no more


@contextmanager
def held(folder: Path, what: str, *, together: bool = True) -> Iterator[Callable[[], None]]:
    """Lock a folder, or raise at once if it is in use.

    The lock is the kernel's (``flock``), on the file ``.jaxdrop-lock`` in the folder: it is gone
    when the process is, even after a SIGKILL, and a file left behind blocks nobody. A second call
    of the same process, in another thread or inside the first, is refused as another process is.
    Children that Python forks do not inherit it; they must not write in the folder.

    On a file system or an operating system without such locks there is a RuntimeWarning, and no
    lock. Over NFS the lock holds between machines if the server has a lock manager.

    Args:
      folder: made if it is missing.
      what: who asks, such as "fit", for the sentence that the second one gets.
      together: whether all processes of jax call this and share the folder: the first one locks
        for all, and a refusal of one is a refusal of all. Otherwise each locks for itself.

    Yields:
      A function that raises CheckpointError if the folder was deleted or moved in the meantime: to
      be called before something is written there, and at the end.

    Raises:
      CheckpointError: if it is in use, or cannot be written to; nothing was touched.
    """
    file: IO[bytes] | None = None

    def check() -> None:
        there = folder.is_dir() if file is None or file.closed else still_at(folder / NAME, file)
        if not there:
            raise CheckpointError(
                f"{folder} was deleted or moved, or {NAME} in it, while {what} worked there; what "
                "was saved before is where it was moved to, and what came after is lost"
            )

    try:
        with refused_together(folder) if together else nullcontext():
            try:
                folder.mkdir(parents=True, exist_ok=True)
                if not together or jax.process_index() == 0:
                    file = _lock(folder, what)
            except OSError as error:
                raise not_writable(folder, error) from error
        yield check
    finally:
        if file is not None and not file.closed:  # a forked child has closed its own
            _HELD.discard(file)
            with suppress(OSError):  # a disk that is read-only now; the lock goes in any case
                if still_at(folder / NAME, file):
                    (folder / NAME).unlink()
            file.close()


def _lock(folder: Path, what: str) -> IO[bytes] | None:
    if fcntl is None:
        _go_without(folder, "this operating system has no flock")
        return None
    for _ in range(1000):  # more often than others can lock and unlock in between
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        file = os.fdopen(os.open(folder / NAME, flags, 0o666), "r+b", buffering=0)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with file:
                raise CheckpointError(_sentence(folder, file)) from None
        except OSError as error:
            file.close()
            if error.errno not in _NO_LOCKS:
                raise
            _go_without(folder, error.strerror or str(error))
            return None
        if still_at(folder / NAME, file):
            return _signed(file, what)
        file.close()  # who had it deleted it in between
    _go_without(folder, "the lock file keeps being replaced")
    return None


def _signed(file: IO[bytes], what: str) -> IO[bytes]:
    """Write into a locked file who has it."""
    _HELD.add(file)
    with suppress(OSError):  # the disk is full: the lock holds without its text
        file.truncate()
        file.write(_about(what))
    return file


def _go_without(folder: Path, reason: str) -> None:
    warnings.warn(
        f"{folder} cannot be locked ({reason}): make sure yourself that nothing else uses it",
        RuntimeWarning,
        stacklevel=5,
    )


def still_at(path: Path, file: IO[Any]) -> bool:
    """Say whether an open file is the one at this path: not if that was deleted or moved."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except OSError:
        return False


def _about(what: str) -> bytes:
    now = datetime.datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
    command = shlex.join(sys.argv)[:200] or "python"
    text = f"{what} in process {os.getpid()} on {socket.gethostname()} since {now}: {command}\n"
    return text.encode(errors="backslashreplace")


def _sentence(folder: Path, file: IO[bytes]) -> str:
    who = file.read(1000).decode(errors="replace").strip() or "another process"
    return (
        f"{folder} is in use by {who}; nothing was changed. Wait until that has ended, or choose "
        "another folder"
    )


@contextmanager
def refused_together(folder: Path) -> Iterator[None]:
    """Raise a CheckpointError of the context in all processes: none may wait for one that has left.

    Raises:
      CheckpointError: in a process that had none, that another process refuses the folder.
    """
    refused: CheckpointError | None = None
    try:
        yield
    except CheckpointError as error:
        refused = error
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        anywhere = np.any(multihost_utils.process_allgather(np.int32(refused is not None)))
        if anywhere and not refused:
            refused = CheckpointError(f"{folder} is refused by another process, which says why")
    if refused:
        raise refused


def _forget() -> None:
    """Close a forked child's copies: it would hold the lock when its parent is gone."""
    while _HELD:
        _HELD.pop().close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
