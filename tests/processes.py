"""Several processes of jax.distributed on one machine: they end, or say where they hang."""

import signal
import socket
import subprocess
import time
from collections.abc import Sequence

PATIENCE = 240.0  # seconds; alone on two cores none of them takes a quarter of it


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def ended(running: Sequence["subprocess.Popen[str]"]) -> list[tuple[int, str]]:
    """Return the exit code of each process and what it wrote, or kill them all.

    They are started with PYTHONFAULTHANDLER=1, so that one which hangs says where: its stacks are
    in the error, and so is what the others wrote, of which one may have failed before.
    """
    until = time.monotonic() + PATIENCE
    try:
        said = []
        for process in running:
            try:
                text, _ = process.communicate(timeout=max(1.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGABRT)
                text = process.communicate(timeout=30)[0] + "\nIt was still running."
            said.append(text)
    finally:
        for process in running:
            process.kill()
    assert "It was still running." not in "".join(said), "\n\n".join(
        f"process {i}, exit code {process.returncode}:\n{text}"
        for i, (process, text) in enumerate(zip(running, said, strict=True))
    )
    return [(process.returncode, text) for process, text in zip(running, said, strict=True)]
