"""held: one process at a time in a folder; the lock goes with the process, however that ends."""

import datetime
import errno
import os
import shlex
import socket
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import jax
import numpy as np

from jaxdrop.training._checkpoints import CheckpointError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

NAME = ".lock"
_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}
_HELD: set[IO[bytes]] = set()  # by this process: one file per folder that is in use, no more


@contextmanager
def held(folder: Path, what: str) -> Iterator[None]:
    """Keep a folder for oneself, or raise at once if it is in use.

    The lock is the kernel's, on the file ``.lock`` in the folder (``flock``): it is gone when the
    process is, after a SIGKILL too, and what is then left of the file hinders nobody. A second call
    of the same process, in another thread or inside of the first, is refused as another process is.
    Children that Python forks do not keep it; they must not write in the folder. Of several
    processes of jax the first one locks for all, and all have to call this.

    On a file system or an operating system without such locks there is a RuntimeWarning, and no
    lock. Over NFS the lock holds between machines if the server has a lock manager.

    Args:
      folder: made if it is missing.
      what: who asks, for the sentence that the second one gets; such as "fit".

    Raises:
      CheckpointError: if it is in use; nothing was touched.
      OSError: if the folder or the file cannot be written.
    """
    file: IO[bytes] | None = None
    refused: Exception | None = None
    if jax.process_index() == 0:
        try:
            file = _lock(folder, what)
        except (CheckpointError, OSError) as error:
            refused = error
    if jax.process_count() > 1:
        refused = _everyone(refused, folder)
    if refused:
        raise refused
    try:
        yield
    finally:
        if file is not None and not file.closed:  # a forked child has closed its own
            _HELD.discard(file)
            if _is_there(file, folder):
                (folder / NAME).unlink()
            file.close()


def _lock(folder: Path, what: str) -> IO[bytes] | None:
    folder.mkdir(parents=True, exist_ok=True)
    if fcntl is None:
        _go_without(folder, "this operating system has no flock")
        return None
    while True:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        file = os.fdopen(os.open(folder / NAME, flags, 0o666), "r+b", buffering=0)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with file:
                raise CheckpointError(_sentence(folder, file)) from None
        except OSError as error:
            file.close()
            if error.errno in _NO_LOCKS:
                _go_without(folder, error.strerror or str(error))
                return None
            raise
        if _is_there(file, folder):
            break
        file.close()  # who had it deleted it in between
    _HELD.add(file)
    try:
        file.truncate()
        file.write(_about(what))
    except OSError:
        pass  # the disk is full: the lock holds without its text
    return file


def _go_without(folder: Path, reason: str) -> None:
    warnings.warn(
        f"{folder} cannot be locked ({reason}): make sure yourself that nothing else uses it",
        RuntimeWarning,
        stacklevel=5,
    )


def _is_there(file: IO[bytes], folder: Path) -> bool:
    """Say whether the folder's lock file is still this one."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(folder / NAME))
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


def _everyone(refused: Exception | None, folder: Path) -> Exception | None:
    """Return the first process's refusal, in all of them: none may wait for one that is gone."""
    from jax.experimental import multihost_utils

    if int(multihost_utils.broadcast_one_to_all(np.int32(refused is not None))) and not refused:
        return CheckpointError(f"{folder} could not be locked by the first process, which says why")
    return refused


def _forget() -> None:
    """Close a forked child's copies: it would hold the lock when its parent is gone."""
    while _HELD:
        _HELD.pop().close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
