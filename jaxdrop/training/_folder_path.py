"""run_folder: which paths can be the folder of a run; the same rule for all that saves."""

import os
import re
from pathlib import Path
from typing import Any

# Orbax globs the whole path of what it saves: it would not find its own files again, or find those
# of another folder. TensorStore's paths are UTF-8, and it takes "gs:/" anywhere for a URL.
_BREAKS = re.compile(r"[\[\]*?\\\0]")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")


def run_folder(folder: Any, called: str = "folder") -> Path:
    """Return the absolute path of a folder to save in; it does not have to exist.

    Args:
      folder: a path on a file system that is mounted, as text or an object that stands for a path.
      called: the argument or option that it was given as, for the sentence.

    Raises:
      TypeError: if it is no path.
      ValueError: if what is saved there could not be read back; names the path and the reason.

    >>> run_folder("runs/lr=[0.1]")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: got folder='runs/lr=[0.1]', and '[' in a path is a pattern to the libraries ...
    """
    try:
        text = os.fspath(folder)
    except TypeError:
        text = None
    if not isinstance(text, str):
        raise TypeError(f"got {called}={folder!r}, expected a path as text or a pathlib.Path")
    got = f"got {called}={text!r}"
    if not text:
        raise ValueError(f"{got}, which names no folder; '.' is the one you are in")
    if _URL.match(text):
        raise ValueError(f"{got}, a URL; expected the path of a folder on a mounted file system")
    if text.startswith("~"):
        raise ValueError(
            f"{got}, and '~' is expanded by shells only: give {os.path.expanduser(text)!r}, or "
            "write './~' if a folder has that name"
        )
    if os.path.exists(text) and not os.path.isdir(text):
        raise ValueError(f"{got}, which is a file; expected a folder, or a path that is new")
    path = Path(text).absolute().as_posix()
    wrong = _BREAKS.search(path)
    if wrong:
        whole = "" if wrong[0] in text else f" (that is {path!r})"
        raise ValueError(
            f"{got}{whole}, and {wrong[0]!r} in a path is a pattern to the libraries that save: "
            "they do not find again what they wrote there; choose a path without any of [ ] * ? \\"
        )
    if "gs:/" in f"{path}/":
        raise ValueError(f"{got} (that is {path!r}), where 'gs:/' is taken for a URL's beginning")
    try:
        path.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{got} (that is {path!r}), which is not UTF-8") from None
    return Path(path)
