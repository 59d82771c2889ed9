"""A small disk that can be mounted by root: the real thing, where a full disk is tested."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

by_root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="root may mount a disk"
)


@contextmanager
def mounted(folder: Path, size: str) -> Iterator[Path]:
    """Mount a disk of that size below a folder; skip the test where that cannot be done."""
    disk = folder / "disk"
    disk.mkdir()
    if os.system(f"mount -t tmpfs -o size={size} tmpfs {disk} 2>/dev/null"):
        pytest.skip("no disk can be mounted here")
    try:
        yield disk
    finally:
        os.system(f"umount {disk}")


def remount(disk: Path, option: str) -> None:
    """Mount it again, with another size or read-only."""
    assert not os.system(f"mount -o remount,{option} {disk}")
