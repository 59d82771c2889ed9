"""The command of an experiment: its options, folder, resumption, progress, files and ending."""

import dataclasses
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console

from experiments._harness.accelerator import unused_gpu
from experiments._harness.ending import LOST, politely
from experiments._harness.environment import environment
from experiments._harness.experiment import Experiment, load_experiment
from experiments._harness.figure import save_figure
from experiments._harness.job_array import JobArray, parts_folder, read_part, refuse_other_run
from experiments._harness.open_file import Open, open_file
from experiments._harness.processes import Processes, agree, connect, is_first
from experiments._harness.result import CannotRun, prepare_folder, whole_file, write_result
from experiments._harness.unfinished import (
    Unfinished,
    open_unfinished,
    remove_whole,
    say_where,
)
from jaxdrop.training import CheckpointError
from jaxdrop.training._folder_lock import held, refused_together
from jaxdrop.training._progress_bar import progress_bar
from jaxdrop.training._typed_json import Unreadable

FastKernels = Annotated[
    bool,
    tyro.conf.FlagCreatePairsOff,
    tyro.conf.arg(
        help="On a GPU: the fastest kernels, with which a run may not give the same bits again."
    ),
]


def run_command(name: str, argv: list[str]) -> int:
    """Run an experiment from its command line and store what came out.

    Args:
      name: the experiment's name, as ``scripts/run`` knows it.
      argv: what was typed after the name.

    Returns:
      The exit code.
    """
    command = _Command(load_experiment(name))
    return politely(lambda: command.start(argv), lambda: command.left())


class _Command:
    """One call of an experiment; ``left()`` says what remains of it when it stops."""

    def __init__(self, experiment: Experiment):
        self.experiment, self.left = experiment, lambda: LOST

    def start(self, argv: list[str]) -> int:
        config, out, processes, text, shown = _options(self.experiment, argv)
        self.experiment.check(config)
        part = None if text is None else read_part(text)
        if processes is not None:
            connect(processes)
            agree("options", repr((config, out)))
        folder = prepare_folder(out)
        if is_first() and (line := unused_gpu()):
            print(line, file=sys.stderr)
        if part is not None:
            self.work_on_part(config, folder, part)
            return 0
        with held(folder, f"scripts/run {self.experiment.name}"):
            self.work(config, folder)
        if shown and is_first():
            open_file(folder / "figure.png")
        return 0

    def work_on_part(self, config: Any, folder: Path, part: tuple[int, int]) -> None:
        """Be one job of an array; the folder itself is not locked."""
        refuse_other_run(folder)
        place, name = parts_folder(folder), f"part {part[0]}/{part[1]} of {self.experiment.name}"
        self.left = lambda: self.how_far(config, place)
        with progress_bar(name, -(-self.experiment.ticks(config) // part[1])) as tick:
            self.experiment.run(config, tick, place, part)
        point = self.experiment.resume_point(config, place) or "no runs"
        print(
            f"Done: {name}; {place} holds {point}. The same command without --part joins what is "
            "there, runs what is missing, and stores the result."
        )

    def work(self, config: Any, folder: Path) -> None:
        unfinished, place, parts = None, folder, parts_folder(folder)
        if self.experiment.divisible and parts.is_dir():
            place = parts
            self.left = lambda: self.how_far(config, parts)
        elif self.experiment.resumable:
            unfinished = self.unfinished(config, folder)
            place = unfinished.work
        name, begun = self.experiment.name, time.perf_counter()
        try:
            with progress_bar(name, self.experiment.ticks(config)) as tick:
                outcome = self.experiment.outcome(config, tick, place)
        except BaseException as error:
            if unfinished and unfinished.new and is_first() and self.left() == LOST:
                unfinished.remove()  # nothing is in it, and other settings may come next
            elif unfinished and isinstance(error, CannotRun):
                raise CannotRun(f"{error}. {self.left()}") from error
            raise
        agree("experiments", name)  # all of them are done
        if is_first():
            elsewhere = unfinished.began_elsewhere() if unfinished else {}
            result = {
                "experiment": name,
                "config": dataclasses.asdict(config),
                "environment": environment(),
                **({"began_with": elsewhere} if elsewhere else {}),
                "seconds": round(time.perf_counter() - begun, 1),
                **outcome,
            }
            self.store(result, folder)
            if unfinished:
                unfinished.remove()
            if place == parts:
                remove_whole(parts)
            self.tell(result, folder)

    def unfinished(self, config: Any, folder: Path) -> Unfinished:
        """Open the folder for work in progress; in all processes, or in none."""
        name, found = self.experiment.name, None
        with refused_together(folder):
            if is_first():  # the others find what it made
                try:
                    found = open_unfinished(folder, name, config)
                    say_where(name, found, self.experiment.resume_point(config, found.work))
                except CannotRun as reason:
                    raise CheckpointError(str(reason)) from reason
        opened = found or open_unfinished(folder, name, config)
        self.left = lambda: self.how_far(config, opened.work)
        return opened

    def how_far(self, config: Any, place: Path) -> str:
        """Say what is saved in a folder for work in progress."""
        try:
            point = self.experiment.resume_point(config, place)
        except (CannotRun, CheckpointError, Unreadable, OSError):
            return f"What was saved is in {place}."
        return f"The same command resumes from {point}; saved in {place}." if point else LOST

    def store(self, result: dict[str, Any], folder: Path) -> None:
        """Write result.json, and what is made from it."""
        stored = folder / "result.json"
        write_result(stored, result)
        self.left = lambda: f"The numbers are stored in {stored}."
        more_files = self.experiment.more_files
        try:
            for name, text in (more_files(result) if more_files else {}).items():
                with whole_file(folder / name) as partial:
                    partial.write_text(text, encoding="utf-8", newline="")
            save_figure(folder / "figure.png", self.experiment.draw, result)
        except CannotRun as error:
            raise CannotRun(f"{error}. {self.left()}") from error

    def tell(self, result: dict[str, Any], folder: Path) -> None:
        """Print the result, and where it is."""
        console, readme_line = Console(), self.experiment.readme_line
        self.experiment.show(result, console)
        if readme_line and (match := readme_line(result).match) != "-":
            console.print(match)
        console.print(f"Stored: {folder}/result.json", markup=False, soft_wrap=True)
        console.print(f"Figure: {folder}/figure.png", markup=False, soft_wrap=True)


def _options(
    experiment: Experiment, argv: list[str]
) -> tuple[Any, Path, Processes | None, str | None, bool]:
    """Read what was typed: config, folder, other processes, part, whether to show the figure."""
    out_type = Annotated[Path, tyro.conf.arg(help="Folder for result.json and figure.png.")]
    default = Path("out") / experiment.name
    fields: list[Any] = [
        ("config", experiment.Config),
        ("out", out_type, default),
        ("fast_kernels", FastKernels, False),  # for --help: choose_kernels has read it
        ("open", Open, False),
    ]
    if experiment.PROCESSES:
        fields.append(("processes", Processes, Processes()))
    if experiment.divisible:
        fields.append(("jobs", JobArray, JobArray()))
    chosen: Any = tyro.cli(
        dataclasses.make_dataclass(experiment.name, fields),
        args=argv,
        prog=f"scripts/run {experiment.name}",
        description=experiment.description,
        config=(tyro.conf.OmitArgPrefixes,),
    )
    jobs = getattr(chosen, "jobs", JobArray())
    processes = getattr(chosen, "processes", None)
    return chosen.config, chosen.out, processes, jobs.part, chosen.open
