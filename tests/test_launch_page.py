"""docs/launch.md: the commands are ones that scripts/run takes."""

import re
import shlex
from pathlib import Path

import pytest

pytest.importorskip("tyro", reason="experiments need the extra jaxdrop[experiments]")
from experiments.__main__ import COMMANDS, find_experiments  # noqa: E402
from experiments._harness.command import _options  # noqa: E402
from experiments._harness.experiment import load_experiment  # noqa: E402
from experiments._harness.job_array import read_part  # noqa: E402

PAGE = Path(__file__).parents[1] / "docs" / "launch.md"


def commands(text: str) -> list[list[str]]:
    """Return what stands after scripts/run in the blocks of a page, with 1 for what a shell has."""
    blocks = re.findall(r"```(?:sh|yaml)\n(.*?)```", text, re.DOTALL)
    # A command goes on where a line is indented more, as in YAML.
    joined = re.sub(r"\n {14,}(?=--)", " ", "\n".join(blocks))
    found = re.findall(r"scripts/run ([^\n\"#]*)", joined)
    return [shlex.split(re.sub(r"\$\(\(.*?\)\)|\$\w+", "1", line)) for line in found]


def parsed(name: str, argv: list[str]) -> str:
    """Parse a command's options, or exit; return the part that it names."""
    if name in find_experiments(COMMANDS):
        assert not argv
        return ""
    experiment = load_experiment(name)
    config, out, _, part, _ = _options(experiment, argv)
    assert part is None or read_part(part)
    assert str(out).startswith(("out/", "/shared/"))
    return part or ""


def test_every_command_has_options_that_exist() -> None:
    found = commands(PAGE.read_text())
    assert len(found) == 12
    assert sum("--coordinator" in line and "--process-id" in line for line in found) == 3
    parts = [parsed(name, argv) for name, *argv in found]
    assert [part for part in parts if part] == ["1/12", "1/12"]


def test_an_option_that_does_not_exist_is_noticed(capsys: pytest.CaptureFixture[str]) -> None:
    for line in ("char_lm --out out/x --part 1/2", "sweep --out out/x --cluster"):
        ((name, *argv),) = commands(f"```sh\nscripts/run {line}\n```")
        with pytest.raises(SystemExit):
            parsed(name, argv)
    capsys.readouterr()
