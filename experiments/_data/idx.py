"""IDX, the file format of MNIST: reading one with its checksum verified, and writing one."""

import gzip
import hashlib
import math
import struct
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments._harness.result import CannotRun

UNSIGNED_BYTE = 0x08  # the third byte of the header; the fourth is the number of dimensions


class Content(NamedTuple):
    """What an uncompressed file holds."""

    md5: str
    size: int
    """Size in bytes."""


def read_idx(folder: Path, name: str, expected: Content, how: str) -> np.ndarray:
    """Read one IDX file of unsigned bytes, raw or .gz.

    Args:
      folder: where the file is, as ``name``, ``name.gz``, or with a dot before "idx".
      name: such as "train-images-idx3-ubyte".
      expected: what the uncompressed file has to hold.
      how: what to type to get the file.

    Returns:
      uint8 array in the shape that the header states.

    Raises:
      CannotRun: if the file is missing, unreadable, truncated or not the expected one.
    """
    raw = read_bytes(folder, name, expected.size, how)
    found = hashlib.md5(raw, usedforsecurity=False).hexdigest()
    if found != expected.md5:
        raise CannotRun(
            f"{name} in {folder} is damaged or another file ({_shape_said(raw)}): md5 {found}, "
            f"not {expected.md5}; remove it, then type: {how}"
        )
    shape = _shape(raw)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * len(shape)).reshape(shape)


def read_bytes(folder: Path, name: str, size: int, how: str) -> bytes:
    """Return the uncompressed bytes of an IDX file under any of its usual names.

    At most one more than ``size`` of them are read, whatever a compressed file would unpack to.
    """
    for stem in (name, name.replace("-idx", ".idx")):
        raw, packed = folder / stem, folder / f"{stem}.gz"
        try:
            for path, opened in ((raw, open), (packed, gzip.open)):
                if path.is_file():
                    with opened(path, "rb") as file:
                        return file.read(size + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise CannotRun(
                f"{name} in {folder} cannot be read: {error}; remove it, then type: {how}"
            ) from error
    raise CannotRun(f"{folder} has no {name} (raw or .gz); to get it, type: {how}")


def idx_bytes(array: np.ndarray) -> bytes:
    """Return an array of unsigned bytes as the contents of an IDX file.

    >>> idx_bytes(np.array([7, 9], np.uint8)).hex()
    '00000801000000020709'
    """
    header = struct.pack(">BBBB", 0, 0, UNSIGNED_BYTE, array.ndim)
    return header + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def _shape(raw: bytes) -> tuple[int, ...]:
    """Return the shape that the header states, or () if there is no IDX header."""
    if len(raw) < 4 or raw[:3] != bytes((0, 0, UNSIGNED_BYTE)) or len(raw) < 4 + 4 * raw[3]:
        return ()
    return struct.unpack(f">{raw[3]}I", raw[4 : 4 + 4 * raw[3]])


def _shape_said(raw: bytes) -> str:
    """Say what a file that is not the right one looks like."""
    shape = _shape(raw)
    if not shape:
        return f"{len(raw)} bytes without an IDX header"
    whole = 4 + 4 * len(shape) + math.prod(shape)
    if len(raw) < whole:
        return f"truncated: {len(raw)} bytes of {whole}"
    return f"an array of shape {'x'.join(map(str, shape))}"
