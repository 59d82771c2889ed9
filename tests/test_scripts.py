"""The two commands: set-up, its failures in sentences, and the list of experiments."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOOLS = ["cat", "cksum", "cp", "dirname", "mkdir", "rm", "sed", "sh"]

COMPILE = (
    "uv pip compile --universal --python-version 3.11 --fork-strategy fewest pyproject.toml "
    "--all-extras --no-header --no-annotate --no-emit-index-url --no-emit-find-links "
    "-o constraints.txt"
)

# Stands in for python3: answers the version question, "makes" environments, logs what it is asked.
FAKE_PYTHON = """\
#!/bin/sh
case "$*" in
    *sys.exit*) exit $OLD ;;
    *print*) echo "Python $VERSION" ;;
    "-m venv"*) echo venv >>"$LOG"; mkdir -p "$3/bin"; cp "$0" "$3/bin/python" ;;
    *pip\\ install*) echo install >>"$LOG"; exit ${INSTALL_FAILS:-0} ;;
    *experiments*) echo "run $*" >>"$LOG" ;;
esac
"""


class Checkout:
    """A copy of the scripts, on a machine that holds a few tools and one fake python3."""

    def __init__(self, folder: Path, version: str):
        self.root, self.bin, self.log = folder / "a copy", folder / "bin", folder / "log"
        (self.root / "scripts").mkdir(parents=True)
        for name in ("_env", "run", "test"):
            shutil.copy(ROOT / "scripts" / name, self.root / "scripts")
        for name in ("pyproject.toml", "constraints.txt"):
            shutil.copy(ROOT / name, self.root)
        self.bin.mkdir()
        for tool in TOOLS:
            where = shutil.which(tool)
            assert where, f"the machine has no {tool}"
            (self.bin / tool).symlink_to(where)
        (self.bin / "python3").write_text(FAKE_PYTHON)
        (self.bin / "python3").chmod(0o755)
        old = tuple(map(int, version.split(".")))[:2] < (3, 11)
        self.env = {
            "PATH": str(self.bin),
            "LOG": str(self.log),
            "VERSION": version,
            "OLD": str(int(old)),
        }

    def run(self, *args: str, **env: str) -> tuple[subprocess.CompletedProcess[str], list[str]]:
        """Call scripts/run from elsewhere; return the outcome and what python3 was asked to do."""
        self.log.write_text("")
        done = subprocess.run(
            [self.root / "scripts" / "run", *args],
            env=self.env | env,
            cwd=self.bin,
            capture_output=True,
            text=True,
            timeout=300,
        )
        return done, self.log.read_text().splitlines()


RUN = "run -P -m experiments quickstart --seed 1"


def test_first_call_sets_up_and_second_call_goes_straight_to_work(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path, "3.11.4")
    done, asked = checkout.run("quickstart", "--seed", "1")
    assert (done.returncode, asked) == (0, ["venv", "install", RUN]), done.stderr
    assert done.stdout == ""
    done, asked = checkout.run("quickstart", "--seed", "1")
    assert (done.returncode, asked) == (0, [RUN])
    assert done.stderr == ""


def test_interrupted_installation_is_noticed_and_done_again(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path, "3.11.4")
    done, asked = checkout.run("quickstart", INSTALL_FAILS="1")
    assert (done.returncode, asked) == (1, ["venv", "install"])
    assert "the installation failed" in done.stderr
    assert not (checkout.root / ".venv" / "jaxdrop-stamp").exists()
    done, asked = checkout.run("quickstart", "--seed", "1")
    assert (done.returncode, asked) == (0, ["venv", "install", RUN])


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_changed_requirements_are_installed(tmp_path: Path, name: str) -> None:
    checkout = Checkout(tmp_path, "3.11.4")
    checkout.run("quickstart")
    with open(checkout.root / name, "a") as file:
        file.write("# changed\n")
    _, asked = checkout.run("quickstart", "--seed", "1")
    assert asked == ["install", RUN]
    _, asked = checkout.run("quickstart", "--seed", "1")
    assert asked == [RUN]


def test_moved_checkout_is_installed_again(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path, "3.11.4")
    checkout.run("quickstart")
    checkout.root = checkout.root.rename(tmp_path / "moved")
    _, asked = checkout.run("quickstart", "--seed", "1")
    assert asked == ["install", RUN]


def test_environment_made_by_hand_is_kept(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path, "3.11.4")
    mine = checkout.root / ".venv" / "bin"
    mine.mkdir(parents=True)
    shutil.copy(checkout.bin / "python3", mine / "python")
    (mine / "keep").touch()
    _, asked = checkout.run("quickstart", "--seed", "1")
    assert asked == ["install", RUN]
    assert (mine / "keep").exists()


def test_another_interpreter_makes_another_environment(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path, "3.11.4")
    checkout.run("quickstart")
    shutil.copy(checkout.bin / "python3", checkout.bin / "mine")
    other = str(checkout.bin / "mine")
    _, asked = checkout.run("quickstart", "--seed", "1", JAXDROP_PYTHON=other)
    assert asked == ["venv", "install", RUN]
    for env in ({"JAXDROP_PYTHON": other}, {}):
        _, asked = checkout.run("quickstart", "--seed", "1", **env)
        assert asked == [RUN]


@pytest.mark.parametrize("script", ["run", "test"])
def test_python_that_is_too_old_gets_a_sentence(tmp_path: Path, script: str) -> None:
    checkout = Checkout(tmp_path, "3.9.1")
    (checkout.root / "scripts" / script).rename(checkout.root / "scripts" / "run")
    done, asked = checkout.run()
    assert done.returncode == 1
    assert asked == []
    assert "jaxdrop needs Python 3.11 or newer; found Python 3.9.1 as python3." in done.stderr
    assert "JAXDROP_PYTHON=/path/to/python3" in done.stderr
    assert not (checkout.root / ".venv").exists()


def test_interpreter_that_is_asked_for_and_does_not_run_gets_a_sentence(tmp_path: Path) -> None:
    done, _ = Checkout(tmp_path, "3.11.4").run(JAXDROP_PYTHON="/no/such/python")
    assert done.returncode == 1
    assert "found nothing that runs as /no/such/python." in done.stderr


def experiments(*args: str, prelude: str = "") -> subprocess.CompletedProcess[str]:
    code = f"{prelude}\nfrom experiments.__main__ import main\nraise SystemExit(main({args!r}))"
    return subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_experiments_are_listed_without_importing_jax() -> None:
    done = experiments(prelude="import sys; sys.modules['jax'] = None")
    assert done.returncode == 0, done.stderr
    for name in ("quickstart", "reproduce"):
        assert re.search(rf"^  {name} +\S.*$", done.stdout, re.M), done.stdout


def test_unknown_experiment_gets_the_nearest_name_and_the_list() -> None:
    done = experiments("quikstart")
    assert done.returncode == 2
    assert "There is no experiment named 'quikstart'. Did you mean quickstart?" in done.stderr
    assert "  reproduce" in done.stderr
    assert "Traceback" not in done.stderr


def test_only_public_modules_with_a_main_are_experiments(tmp_path: Path) -> None:
    from experiments.__main__ import find_experiments

    (tmp_path / "one.py").write_text('"""First line.\n\nMore."""\ndef main(argv): ...\n')
    (tmp_path / "_two.py").write_text('"""Private."""\ndef main(argv): ...\n')
    (tmp_path / "three.py").write_text('"""No main."""\n')
    (tmp_path / "four.py").write_text("def main(argv): ...\n")
    assert find_experiments(tmp_path) == {"four": "", "one": "First line."}


def _constraints() -> list[str]:
    return (ROOT / "constraints.txt").read_text().splitlines()


def test_constraints_hold_versions_and_markers_only() -> None:
    entry = re.compile(r"[a-z0-9.-]+==[0-9][0-9a-z.]*( ; [a-z_]+ [!=<>]+ '[^']+')?")
    assert [line for line in _constraints() if not entry.fullmatch(line)] == []


def test_constraints_name_every_requirement() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    del extras["peers"]  # torch: gigabytes, and installed by hand where its comparison is wanted
    asked = sum(extras.values(), project["dependencies"])
    names = {re.split(r"[\[<>=!~ ]", line)[0] for line in asked}
    pinned = {line.partition("==")[0] for line in _constraints()}
    assert names - pinned == set(), f"not in constraints.txt; make it again by: {COMPILE}"
