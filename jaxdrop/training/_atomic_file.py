"""write_whole: a file is as it was, or holds all that was to be written; a kill finds either."""

import os
from pathlib import Path


def write_whole(path: Path, content: bytes) -> None:
    """Write a file beside its place, put it on the disk, then move it to its place.

    One process at a time may do so in a folder (``held``). What a kill leaves beside a file,
    ``.NAME.partial``, is written over by the next call.

    Raises:
      OSError: if it cannot be written; nothing is left beside it.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        with open(partial, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
