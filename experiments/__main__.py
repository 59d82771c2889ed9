"""Run an experiment by name, or list them all: ``python -m experiments [NAME [OPTIONS]]``."""

import ast
import contextlib
import difflib
import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from experiments._harness.kernels import choose_kernels

FOLDER = Path(__file__).parent
COMMANDS = FOLDER / "_commands"
STOPPED = (130, 143)  # after Ctrl-C and SIGTERM


def find_experiments(folder: Path = FOLDER) -> dict[str, str]:
    """Return ``{name: first docstring line}`` for each public file and folder.

    The files are parsed, not imported, so that a list costs no import of jax.
    """
    files = {path.stem: path for path in folder.glob("[!_]*.py")}
    files |= {path.parent.name: path for path in folder.glob("[!_]*/__init__.py")}
    found = {}
    for name, path in sorted(files.items()):
        tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
        found[name] = (ast.get_docstring(tree) or "").partition("\n")[0]
    return found


def listing() -> str:
    """Return what can be typed after scripts/run, a line each."""
    experiments, commands = find_experiments(), find_experiments(COMMANDS)
    width = max(map(len, experiments | commands))
    parts = [
        "\n".join(f"  {name:<{width}}  {line}".rstrip() for name, line in group.items())
        for group in (experiments, commands)
    ]
    return "\n\n".join(parts)


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] in ("-h", "--help"):
        print("usage: scripts/run EXPERIMENT [OPTIONS]   (--help after a name: its options)\n")
        print(listing())
        return 0
    asked = argv[0]
    name = asked.removesuffix(".py").replace("-", "_")
    experiments, commands = find_experiments(), find_experiments(COMMANDS)
    choose_kernels(argv[1:])  # before anything imports jax
    if name in commands:
        return importlib.import_module(f"experiments._commands.{name}").main(argv[1:]) or 0
    if name in experiments:
        from experiments._harness.command import run_command  # imports jax

        return run_command(name, argv[1:])
    nearest = difflib.get_close_matches(name, experiments | commands, n=1, cutoff=0.5)
    hint = f" Did you mean {nearest[0]}?" if nearest else ""
    print(f"There is no experiment named {asked!r}.{hint} There are:\n", file=sys.stderr)
    print(listing(), file=sys.stderr)
    return 2


def end_with(work: Callable[[], int]) -> NoReturn:
    """Call work and end the process with the exit code that it returns or raises.

    After Ctrl-C or SIGTERM by ``os._exit``: everything is saved and reported by then, and Python's
    own exit would free the device under a computation that is still running, which ends in a
    segmentation fault.
    """
    code: int | str | None
    try:
        code = work()
    except KeyboardInterrupt:  # before an experiment that says more is imported, or after
        print("Stopped.", file=sys.stderr)
        code = STOPPED[0]
    except SystemExit as end:
        code = end.code
    if code in STOPPED and not _of_several():
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):  # nobody reads it any more
                stream.flush()
        os._exit(int(code))
    sys.exit(code)


def _of_several() -> bool:
    """Say whether other processes of jax would miss this one: they end together."""
    jax = sys.modules.get("jax")
    return jax is not None and jax.distributed.is_initialized()


if __name__ == "__main__":
    end_with(main)
