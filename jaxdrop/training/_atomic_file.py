"""replacing: a file is as it was, or holds all that was to be written; a kill finds either."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path to write to; what was written there then takes the place of the file at path.

    One process at a time may do so in a folder (``held``). What a kill leaves beside a file,
    ``.NAME.partial``, is written over by the next call.

    Raises:
      OSError: if it cannot be written. As after any other exception, the file is as it was, and
        nothing is left beside it.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        with open(partial, "rb+") as file:
            os.fsync(file.fileno())  # on the disk before it takes the other's place
        os.replace(partial, path)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file as ``replacing`` does."""
    with replacing(path) as partial:
        partial.write_bytes(content)
