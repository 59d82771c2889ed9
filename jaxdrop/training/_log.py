"""Metrics as JSON lines, cut back to the checkpoint when a run is resumed; TensorBoard if asked."""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxdrop.training._checkpoints import CheckpointError


class Log:
    """One JSON object per line, each with "step"; the same bytes however the run was cut.

    Args:
      folder: where metrics.jsonl goes, or None to keep the lines in memory only.
      step: the step the run goes on from. Later lines, and half a line, are dropped.
      write: False in all processes but one; they keep the lines in memory.
      tensorboard: also write the numbers to ``folder/tensorboard``, with the package tensorboardX.

    Attributes:
      lines: all that was logged, as dicts.
    """

    def __init__(self, folder: Path | None, step: int, *, write: bool, tensorboard: bool):
        self.lines: list[dict[str, Any]] = []
        self._file: Any = None
        self._board: Any = None
        if folder is None:
            return
        self._path = folder / "metrics.jsonl"
        self.lines = _read(self._path, step)
        if not write:
            return
        try:
            partial = folder / f".metrics-{os.getpid()}"
            partial.write_text("".join(map(_line, self.lines)), encoding="utf-8")
            os.replace(partial, self._path)
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
        if self._file is not None:
            try:
                self._file.write(_line(self.lines[-1]))
            except OSError as error:
                raise self._failed(error) from error
        if self._board is not None:
            for name, value in numbers.items():
                self._board.add_scalar(name, value, step)

    def flush(self) -> None:
        """Put all lines on the disk: a checkpoint must not be ahead of them."""
        if self._file is None:
            return
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise self._failed(error) from error

    def close(self) -> None:
        if self._file is not None:
            try:
                self._file.close()
            except OSError:
                pass  # has been told
        if self._board is not None:
            self._board.close()

    def _failed(self, error: OSError) -> CheckpointError:
        return CheckpointError(
            f"{self._path} cannot be written to ({error.strerror}); the checkpoints are whole. "
            "Make room, and the same call goes on from the last one"
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


def _line(values: dict[str, Any]) -> str:
    return json.dumps(values, allow_nan=False) + "\n"


def _read(path: Path, step: int) -> list[dict[str, Any]]:
    """Return the whole lines up to a step."""
    lines: list[dict[str, Any]] = []
    if not path.exists():
        return lines
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            values = json.loads(text)
            if values["step"] > step:
                break
        except (ValueError, TypeError, KeyError):
            break  # half a line: the process was killed as it wrote
        lines.append(values)
    return lines
