"""Every experiment has its parts under their names; one that is missing or misspelt is an error."""

import ast
import dataclasses
import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytest.importorskip("tyro", reason="experiments need the extra jaxdrop[experiments]")
from experiments.__main__ import COMMANDS, FOLDER, find_experiments  # noqa: E402  (after the check)
from experiments._harness.experiment import (  # noqa: E402
    MORE_PARTS,
    PARTS,
    experiment_of,
    load_experiment,
)


@pytest.mark.slow
@pytest.mark.parametrize("name", find_experiments())
def test_an_experiment_says_its_parts_and_leaves_the_rest_to_the_harness(name: str) -> None:
    experiment = load_experiment(name)
    assert experiment.name == name and "Question: " in experiment.description
    config = experiment.Config()  # every field has a default
    assert dataclasses.is_dataclass(config) and experiment.Config.__dataclass_params__.frozen
    experiment.check(config)
    assert experiment.ticks(config) > 0
    module = importlib.import_module(f"experiments.{name}")
    assert not {"main", "__all__"} & set(vars(module))


FILES = [path.relative_to(FOLDER) for path in sorted(FOLDER.rglob("*.py"))]


@pytest.mark.slow
@pytest.mark.parametrize(
    "path", [p for p in FILES if len(p.parts) > 1 or p.stem[0] != "_"], ids=str
)
def test_nothing_imports_an_experiment_but_its_own_folder(path: Path) -> None:
    others = set(find_experiments()) - {path.parts[0].removesuffix(".py")}
    for node in ast.walk(ast.parse((FOLDER / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "experiments":
            names = {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names = {(node.module or "").removeprefix("experiments.").partition(".")[0]}
        else:
            continue
        assert not names & others


def test_commands_are_no_experiments() -> None:
    assert set(find_experiments(COMMANDS)) == {
        *("devices", "fetch", "report", "reproduce", "tables")
    }
    assert not set(find_experiments(COMMANDS)) & set(find_experiments())


@dataclasses.dataclass(frozen=True)
class Config:
    """The config of a toy experiment."""

    seed: int = 0


def toy(**changes: Any) -> ModuleType:
    """Return an experiment whose parts were changed; None takes one away."""
    module = ModuleType("experiments.toy", "Question: none.")
    parts: dict[str, Any] = {part: lambda *args: None for part in PARTS} | {"Config": Config}
    for name, value in (parts | changes).items():
        if value is not None:
            setattr(module, name, value)
    return module


def test_a_toy_with_every_part_is_an_experiment() -> None:
    assert experiment_of(toy()).name == "toy"
    assert not experiment_of(toy()).resumable
    assert experiment_of(toy(run=lambda config, tick, folder: {})).resumable


@pytest.mark.parametrize("part", PARTS)
def test_a_missing_part_is_told(part: str) -> None:
    with pytest.raises(TypeError, match=f"the experiment toy has no {part}; each has Config, "):
        experiment_of(toy(**{part: None}))


@pytest.mark.parametrize("part", [*PARTS, *MORE_PARTS])
def test_a_misspelt_part_is_told(part: str) -> None:
    for wrong in (part + "s", part + "_", part.swapcase()):
        with pytest.raises(TypeError, match=f"the experiment toy has {wrong}, expected {part}"):
            experiment_of(toy(**{part: None, wrong: lambda *args: None}))
