"""Log: metrics as JSON lines, cut back to the checkpoint when a run is resumed, and TensorBoard."""

import itertools
import json
import math
import os
import sys
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxdrop.training._atomic_file import write_atomically
from jaxdrop.training._checkpoint_error import CheckpointError
from jaxdrop.training._folder_lock import still_at
from jaxdrop.training._typed_json import Unreadable, as_type, parse_json


class Log:
    """One JSON object per line, each with "step"; the same bytes however often the run was killed.

    Args:
      folder: where metrics.jsonl goes, or None to keep the lines in memory only.
      step: the step the run resumes from. Later lines, and half a line, are dropped.
      stored: what ``record()`` returned at that step, or None if that is not known.
      write: False in all processes but one; they keep the lines in memory.
      tensorboard: also write the numbers to ``folder/tensorboard``, with the package tensorboardX.

    Attributes:
      lines: all that was logged, as dicts. They grow with the run, a few hundred bytes a line.
    """

    def __init__(
        self,
        folder: Path | None,
        step: int,
        stored: np.ndarray | None = None,
        *,
        write: bool,
        tensorboard: bool,
    ):
        self.lines: list[dict[str, Any]] = []
        self._crc = 0
        self._file: Any = None
        self._board: Any = None
        if folder is None:
            return
        self._path = folder / "metrics.jsonl"
        try:
            texts, wrong = _undamaged_lines(self._path, step, stored)
            self.lines = [json.loads(text) for text in texts]
            self._crc = zlib.crc32(b"".join(texts))
            if not write:
                return
            if wrong:
                _set_aside(self._path, wrong, len(texts), step)
            write_atomically(self._path, b"".join(texts))
            self._file = self._path.open("a", buffering=1, encoding="utf-8")
        except OSError as error:
            raise self._failed(error) from error
        if tensorboard:
            self._board = summary_writer()(
                str(folder / "tensorboard"), purge_step=step + 1, flush_secs=30
            )

    def write(self, step: int, values: Mapping[str, Any]) -> None:
        numbers = {k: v if isinstance(v, int) else float(v) for k, v in values.items()}
        # JSON has no NaN and no infinity.
        finite = {k: v if math.isfinite(v) else None for k, v in numbers.items()}
        self.lines.append({"step": step, **finite})
        text = json.dumps(self.lines[-1], allow_nan=False) + "\n"
        self._crc = zlib.crc32(text.encode(), self._crc)
        if self._file is not None:
            try:
                self._file.write(text)
            except OSError as error:
                raise self._failed(error) from error
        if self._board is not None:
            for name, value in numbers.items():
                self._board.add_scalar(name, value, step)

    def record(self) -> np.ndarray:
        """Return how many lines there are and the CRC of their bytes, uint32, for a checkpoint."""
        return np.array([len(self.lines), self._crc], np.uint32)

    def flush(self) -> None:
        """Put all lines on the disk: a checkpoint must not be ahead of them."""
        if self._file is None:
            return
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise self._failed(error) from error
        if not still_at(self._path, self._file):
            raise CheckpointError(
                f"{self._path} was deleted or moved during the run, and what was logged is lost or "
                "there; the checkpoints are whole, and the same call resumes from the last one"
            )

    def close(self) -> None:
        if self._file is not None:
            try:
                self._file.close()
            except OSError:
                pass  # flush has reported it
        if self._board is not None:
            self._board.close()

    def _failed(self, error: OSError) -> CheckpointError:
        return CheckpointError(
            f"{self._path} cannot be written to ({error.strerror}); the checkpoints are whole. "
            "Make room, and the same call resumes from the last one"
        )


def summary_writer() -> Any:
    """Return tensorboardX's writer, or say how to get it."""
    try:
        from tensorboardX import SummaryWriter
    except ImportError as error:
        raise ImportError(
            "tensorboard=True needs the package tensorboardX; type: pip install tensorboardX"
        ) from error
    return SummaryWriter


def _undamaged_lines(
    path: Path, step: int, stored: np.ndarray | None
) -> tuple[list[bytes], list[str]]:
    """Return the lines up to a step, and a description of each thing that is damaged."""
    content = path.read_bytes() if path.exists() else b""
    # What follows the last newline is half a line: the process was killed as it wrote.
    texts = [text + b"\n" for text in content.split(b"\n")[:-1]]
    count, crc = (0, 0) if stored is None else stored.tolist()
    if stored is not None and zlib.crc32(b"".join(texts[:count])) == crc and len(texts) >= count:
        return texts[:count], []  # all that was written up to this step; the rest is computed again
    found: list[tuple[int, int, bytes]] = []
    wrong = []
    for number, text in enumerate(texts, 1):
        try:
            found.append((_step(text, f"line {number}"), number, text))
        except Unreadable as error:
            wrong.append(str(error))
    end = max((i for i, (at, _, _) in enumerate(found, 1) if at <= step), default=0)
    for at, number, _ in found[:end]:
        if at > step:
            wrong.append(f"line {number} is of step {at}, and an earlier one follows")
    kept = [text for at, _, text in found[:end] if at <= step]
    if len(kept) < count:
        wrong.append(f"{count - len(kept)} of its {count} lines are missing")
    elif stored is not None:
        wrong.append("its lines are not those that were written")
    return kept, wrong


def _step(text: bytes, where: str) -> int:
    values = parse_json(text, dict[str, bool | int | float | None], where)
    step: int = as_type(values.get("step"), int, where, "step")
    return step


def _set_aside(path: Path, wrong: list[str], lines: int, step: int) -> None:
    """Copy a damaged file to a new name, and print where."""
    kept = "there is no such file"
    if path.exists():
        number = next(n for n in itertools.count(1) if not _aside(path, n).exists())
        write_atomically(_aside(path, number), path.read_bytes())
        kept = f"all that was there is kept in {_aside(path, number)}"
    some = "; ".join(wrong[:3] + [f"{len(wrong) - 3} more"] * (len(wrong) > 3))
    print(
        f"Note: {path} is damaged up to step {step} ({some}). The run continues with the "
        f"{lines} lines that can be read; {kept}.",
        file=sys.stderr,
    )


def _aside(path: Path, number: int) -> Path:
    return path.with_name(f"metrics-damaged-{number}.jsonl")
