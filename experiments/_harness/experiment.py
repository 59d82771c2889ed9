"""What an experiment is: the parts that the harness calls, found by their names.

A public file or folder of experiments/ is an experiment. It has

    Config                      a frozen dataclass; every field has a default and a docstring
    check(config)               raises CannotRun for settings that cannot be run
    ticks(config)               how often run will call tick
    run(config, tick, folder)   returns {"numbers": ..., "digests": ...}; see ``unfinished``
    show(result, console)       prints a result
    draw(result, figure)        draws it

and may have

    resume_point(config, folder)   says how far a run got; by default, runs of sweeps are counted
    readme_line(result)            returns the experiment's line of the table, a Summary
    more_files(result)             returns {name: text} of files beside result.json
    PROCESSES = True               run shares its work with other processes, see ``processes``

A run that takes no folder is short; if it is stopped, it starts from the beginning. One that takes
a part as well, ``run(config, tick, folder, part)``, can be a job array, see ``job_array``.
"""

import dataclasses
import difflib
import importlib
import inspect
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from rich.console import Console

from experiments._harness.runs import runs_done
from experiments._harness.summary import Summary
from experiments._harness.tick import Tick

PARTS = ("Config", "check", "ticks", "run", "show", "draw")
MORE_PARTS = ("resume_point", "readme_line", "more_files", "PROCESSES")


@dataclasses.dataclass(frozen=True)
class Experiment:
    """An experiment's parts, as described above."""

    name: str
    description: str
    Config: Any
    check: Callable[[Any], None]
    ticks: Callable[[Any], int]
    run: Callable[..., dict[str, Any]]
    show: Callable[[dict[str, Any], Console], None]
    draw: Callable[[dict[str, Any], Any], None]
    resume_point: Callable[[Any, Path], str | None]
    readme_line: Callable[[dict[str, Any]], Summary] | None = None
    more_files: Callable[[dict[str, Any]], dict[str, str]] | None = None
    PROCESSES: bool = False

    @property
    def resumable(self) -> bool:
        return "folder" in inspect.signature(self.run).parameters

    @property
    def divisible(self) -> bool:
        return "part" in inspect.signature(self.run).parameters

    def outcome(self, config: Any, tick: Tick, folder: Path) -> dict[str, Any]:
        """Run it, from what is in the folder if it can be resumed."""
        return self.run(config, tick, folder) if self.resumable else self.run(config, tick)


def load_experiment(name: str) -> Experiment:
    """Import an experiment.

    Raises:
      TypeError: if a part of it is missing or misspelt.
    """
    return experiment_of(importlib.import_module(f"experiments.{name}"))


def experiment_of(module: ModuleType) -> Experiment:
    """Return the parts of a module; raise TypeError if one is missing or misspelt."""
    name = module.__name__.rpartition(".")[2]
    others = {n.lower(): n for n in vars(module) if n not in (*PARTS, *MORE_PARTS)}
    for part in (*PARTS, *MORE_PARTS):
        if hasattr(module, part):
            continue
        for near in difflib.get_close_matches(part.lower(), others, n=1, cutoff=0.8):
            raise TypeError(f"the experiment {name} has {others[near]}, expected {part}")
        if part in PARTS:
            raise TypeError(f"the experiment {name} has no {part}; each has {', '.join(PARTS)}")
    given = {p: getattr(module, p) for p in (*PARTS, *MORE_PARTS) if hasattr(module, p)}
    count = {"resume_point": lambda config, folder: runs_done(folder, module.ticks(config))}
    return Experiment(name, module.__doc__ or "", **count | given)
