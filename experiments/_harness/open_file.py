"""--open: a file in the browser or viewer of whoever typed the command."""

import os
import sys
import webbrowser
from pathlib import Path
from typing import Annotated

import tyro

Open = Annotated[
    bool,
    tyro.conf.FlagCreatePairsOff,
    tyro.conf.arg(help="Show it at the end, where there is a display."),
]


def open_file(path: Path) -> None:
    """Show a file; without a display, or a program that shows it, say so."""
    linux = sys.platform.startswith("linux")
    display = not linux or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if not display:
        print(f"There is no display here to show {path}; copy it to where one is.", file=sys.stderr)
    elif not webbrowser.open(path.resolve().as_uri()):
        print(f"No program was found that shows {path}; open it by hand.", file=sys.stderr)
