"""What an experiment keeps while it is not finished: arrays in a file, with their checksum."""

import hashlib
from pathlib import Path
from typing import Any

from flax import serialization

from experiments._harness.result import CannotRun, whole_file

SUM = hashlib.sha256().digest_size


def keep(path: Path, tree: Any) -> None:
    """Write nested dicts and lists of arrays; the old file stays until the new one is whole.

    Raises:
      CannotRun: if it cannot be written.
    """
    content = serialization.msgpack_serialize(tree)
    with whole_file(path) as partial:
        partial.write_bytes(_checksum(path, content) + content)


def kept(path: Path) -> Any:
    """Return what ``keep`` wrote to this very path, bit for bit.

    Raises:
      CannotRun: if the content is not that: a bit has changed, or it was another file's.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise CannotRun(f"{path} cannot be read ({error.strerror})") from error
    if raw[:SUM] != _checksum(path, raw[SUM:]):
        raise CannotRun(
            f"{path} is damaged: its checksum is not that of its content; remove it, and what was "
            "in it is done again"
        )
    return serialization.msgpack_restore(raw[SUM:])


def _checksum(path: Path, content: bytes) -> bytes:
    return hashlib.sha256(path.name.encode() + b"\0" + content).digest()
