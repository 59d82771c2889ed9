"""The two commands: set-up of both environments, its failures in sentences, the experiments."""

import os
import platform
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = ["cat", "cksum", "cp", "dirname", "grep", "mkdir", "rm", "sed", "sh", "uname"]

COMPILE = (
    "uv pip compile --universal --python-version 3.11 --fork-strategy fewest pyproject.toml "
    "--all-extras --no-header --no-annotate --no-emit-index-url --no-emit-find-links "
    "-o constraints.txt"
)

# Stands in for python3: answers the version question, "makes" environments, logs what it is asked.
FAKE_PYTHON = """\
#!/bin/sh
case "$*" in
    *"sys.exit(sys.version_info < (3, 11))"*) exit $((MINOR < 11)) ;;
    *"sys.exit(sys.version_info < (3, 12))"*) exit $((MINOR < 12)) ;;
    *print*) echo "Python $VERSION" ;;
    "-m venv"*) echo venv >>"$LOG"; mkdir -p "$3/bin"; cp "$0" "$3/bin/python" ;;
    *pip\\ install*constraints.txt*dev,*) echo "install ${*##*dev,}" >>"$LOG" ;;
    *pip\\ install*constraints.txt*) echo install >>"$LOG"; exit ${INSTALL_FAILS:-0} ;;
    *pip\\ install*) echo "install newest" >>"$LOG"; exit ${INSTALL_FAILS:-0} ;;
    *-m\\ pytest*-m\\ not\\ slow*) echo "quick pytest" >>"$LOG"; exit ${TESTS_FAIL:-0} ;;
    *-m\\ pytest*test_golden*) echo "newest pytest" >>"$LOG"; exit ${NEWEST_FAILS:-0} ;;
    *-m\\ pytest*) echo "pytest" >>"$LOG"; exit ${TESTS_FAIL:-0} ;;
    *-m\\ experiments* | *-m\\ scripts*) echo "run $*" >>"$LOG" ;;
esac
"""


class Checkout:
    """A copy of the scripts, on a machine that holds a few tools and one fake python3."""

    def __init__(self, folder: Path, version: str):
        self.root, self.bin, self.log = folder / "a copy", folder / "bin", folder / "log"
        (self.root / "scripts").mkdir(parents=True)
        for name in ("_env", "prove", "run", "test"):
            shutil.copy(ROOT / "scripts" / name, self.root / "scripts")
        shutil.copytree(ROOT / ".ci", self.root / ".ci")
        for name in ("pyproject.toml", "constraints.txt"):
            shutil.copy(ROOT / name, self.root)
        self.bin.mkdir()
        for tool in TOOLS:
            where = shutil.which(tool)
            assert where, f"the machine has no {tool}"
            (self.bin / tool).symlink_to(where)
        self.program("python3", FAKE_PYTHON)
        minor = version.split(".")[1]
        self.env = {
            "PATH": str(self.bin),
            "LOG": str(self.log),
            "VERSION": version,
            "MINOR": minor,
        }

    def program(self, name: str, text: str) -> None:
        path = self.bin / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)

    def run(
        self, *args: str, script: str = "scripts/run", **env: str
    ) -> tuple[subprocess.CompletedProcess[str], list[str]]:
        """Call a script from elsewhere; return the outcome and what python3 was asked to do."""
        self.log.write_text("")
        done = subprocess.run(
            [self.root / script, *args],
            env=self.env | env,
            cwd=self.bin,
            capture_output=True,
            text=True,
            timeout=300,
        )
        return done, self.log.read_text().splitlines()


RUN = "run -P -m experiments quickstart --seed 1"


@pytest.mark.slow
def test_first_call_sets_up_and_second_call_goes_straight_to_work(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path, "3.11.4")
    done, asked = checkout.run("quickstart", "--seed", "1")
    assert (done.returncode, asked) == (0, ["venv", "install", RUN]), done.stderr
    assert done.stdout == ""
    done, asked = checkout.run("quickstart", "--seed", "1")
    assert (done.returncode, asked) == (0, [RUN])
    assert done.stderr == ""


@pytest.mark.slow
def test_interrupted_installation_is_noticed_and_done_again(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path, "3.11.4")
    done, asked = checkout.run("quickstart", INSTALL_FAILS="1")
    assert (done.returncode, asked) == (1, ["venv", "install"])
    assert "the installation failed" in done.stderr
    assert not (checkout.root / ".venv" / "jaxdrop-stamp").exists()
    done, asked = checkout.run("quickstart", "--seed", "1")
    assert (done.returncode, asked) == (0, ["venv", "install", RUN])


@pytest.mark.slow
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


@pytest.mark.slow
def test_moved_checkout_is_installed_again(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path, "3.11.4")
    checkout.run("quickstart")
    checkout.root = checkout.root.rename(tmp_path / "moved")
    _, asked = checkout.run("quickstart", "--seed", "1")
    assert asked == ["install", RUN]


@pytest.mark.slow
def test_environment_made_by_hand_is_kept(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path, "3.11.4")
    mine = checkout.root / ".venv" / "bin"
    mine.mkdir(parents=True)
    shutil.copy(checkout.bin / "python3", mine / "python")
    (mine / "keep").touch()
    _, asked = checkout.run("quickstart", "--seed", "1")
    assert asked == ["install", RUN]
    assert (mine / "keep").exists()


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_interpreter_that_is_asked_for_and_does_not_run_gets_a_sentence(tmp_path: Path) -> None:
    done, _ = Checkout(tmp_path, "3.11.4").run(JAXDROP_PYTHON="/no/such/python")
    assert done.returncode == 1
    assert "found nothing that runs as /no/such/python." in done.stderr


# What nvidia-smi prints when it is asked for the driver's version.
NVIDIA_SMI = "#!/bin/sh\n[ $1 = --query-gpu=driver_version ] && echo {version} && echo {version}\n"

no_driver = pytest.mark.skipif(
    Path("/proc/driver/nvidia/version").exists() or Path("/dev/accel0").exists(),
    reason="a device is here",
)


@no_driver
@pytest.mark.slow
@pytest.mark.parametrize(
    ("version", "installed", "said"),
    [
        ("580.65.06", "install cuda13]", "for cuda13: the NVIDIA driver here is of version 580"),
        ("570.1", "install cuda12]", "for cuda12: the NVIDIA driver here is of version 570"),
        (
            "470.82.01",
            "install",
            "for cpu: the NVIDIA driver here is of version 470, and jax needs",
        ),
        ("", "install", "for cpu: no driver of a GPU or TPU is here"),
    ],
)
def test_jax_is_installed_for_the_device_that_is_there(
    tmp_path: Path, version: str, installed: str, said: str
) -> None:
    checkout = Checkout(tmp_path, "3.11.4")
    if version:
        checkout.program("nvidia-smi", NVIDIA_SMI.format(version=version))
    done, asked = checkout.run("quickstart", "--seed", "1")
    assert (done.returncode, asked) == (0, ["venv", installed, RUN]), done.stderr
    assert [line for line in done.stderr.splitlines() if said in line]


@no_driver
@pytest.mark.slow
def test_an_environment_for_the_cpu_is_brought_up_to_date_when_a_gpu_comes(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path, "3.11.4")
    checkout.run("quickstart")
    checkout.program("nvidia-smi", NVIDIA_SMI.format(version="580.65.06"))
    _, asked = checkout.run("quickstart", "--seed", "1")
    assert asked == ["install cuda13]", RUN]
    _, asked = checkout.run("quickstart", "--seed", "1")
    assert asked == [RUN]


@pytest.mark.slow
@pytest.mark.parametrize("chosen", ["cuda12", "cuda13", "tpu", "cpu"])
def test_the_device_can_be_chosen(tmp_path: Path, chosen: str) -> None:
    checkout = Checkout(tmp_path, "3.11.4")
    done, asked = checkout.run("quickstart", "--seed", "1", JAXDROP_ACCELERATOR=chosen)
    assert asked == ["venv", "install" if chosen == "cpu" else f"install {chosen}]", RUN]
    assert f"for {chosen}: JAXDROP_ACCELERATOR says so" in done.stderr


@pytest.mark.slow
def test_an_unknown_device_gets_a_sentence(tmp_path: Path) -> None:
    done, asked = Checkout(tmp_path, "3.11.4").run("quickstart", JAXDROP_ACCELERATOR="gpu")
    expected = "got JAXDROP_ACCELERATOR=gpu, expected auto, cpu, cuda12, cuda13 or tpu\n"
    assert (done.returncode, done.stderr, asked) == (2, expected, [])


# A shim of pyenv's: it is found, and does not run unless its version was chosen.
SHIM = "#!/bin/sh\necho 'pyenv: command not found' >&2\nexit 127\n"
TESTS = ["venv", "install newest", "pytest"]


@pytest.mark.slow
def test_the_newest_versions_have_an_environment_of_their_own(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path, "3.12.1")
    _, asked = checkout.run("-k", "none", script="scripts/test")
    assert asked == ["venv", "install", "pytest"]
    done, asked = checkout.run("--newest", "-k", "none", script="scripts/test")
    assert (done.returncode, asked) == (0, TESTS), done.stderr
    assert (checkout.root / ".venv-newest" / "jaxdrop-stamp").exists()
    with open(checkout.root / "constraints.txt", "a") as file:
        file.write("# changed\n")
    _, asked = checkout.run("--newest", script="scripts/test")
    assert asked == ["pytest"]
    with open(checkout.root / "pyproject.toml", "a") as file:
        file.write("# changed\n")
    _, asked = checkout.run("--newest", script="scripts/test", INSTALL_FAILS="1")
    assert asked == TESTS[:2]
    done, asked = checkout.run("--newest", script="scripts/test", TESTS_FAIL="3")
    assert (done.returncode, asked) == (3, TESTS)


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() != "x86_64", reason="the compilers are for x86_64 only")
@pytest.mark.parametrize(("device", "steps"), [("gpu", 2), ("tpu", 1)])
def test_the_compilers_for_devices_have_environments_of_their_own(
    tmp_path: Path, device: str, steps: int
) -> None:
    checkout = Checkout(tmp_path, "3.11.4")
    proof = f"run -P -m scripts.proofs.{device}"
    done, asked = checkout.run(device, script="scripts/prove")
    assert (done.returncode, asked) == (0, ["venv", *["install"] * steps, proof]), done.stderr
    assert (checkout.root / f".venv-prove-{device}" / "jaxdrop-stamp").exists()
    assert not (checkout.root / ".venv").exists()
    done, asked = checkout.run(device, script="scripts/prove")
    assert (done.returncode, asked, done.stderr) == (0, [proof], "")


@pytest.mark.slow
def test_the_quick_tier_leaves_out_what_is_slow(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path, "3.12.1")
    done, asked = checkout.run("--quick", script="scripts/test", TESTS_FAIL="3")
    assert (done.returncode, asked) == (3, ["venv", "install", "quick pytest"]), done.stderr


@pytest.mark.slow
def test_a_shim_that_does_not_run_is_passed_over_for_what_pyenv_holds(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path, "3.12.1")
    (checkout.bin / "python3").rename(checkout.bin / "mine")
    checkout.program("python3.13", SHIM)
    checkout.program("python3", SHIM)
    for folder in ("3.6.15", "3.12.1"):
        checkout.program(f"versions/{folder}/bin/python3", FAKE_PYTHON)
    checkout.program("pyenv", f"#!/bin/sh\necho '{checkout.bin}'\n")
    done, asked = checkout.run("--newest", script="scripts/test")
    assert (done.returncode, asked) == (0, TESTS), done.stderr
    stamp = (checkout.root / ".venv-newest" / "jaxdrop-stamp").read_text()
    assert stamp.endswith(f"{checkout.bin}/versions/3.12.1/bin/python3\n")


@pytest.mark.slow
@pytest.mark.parametrize("version", ["3.12.1", "3.11.4"])
@pytest.mark.parametrize("oldest, newest", [("0", "0"), ("1", "0"), ("0", "1"), ("2", "1")])
def test_ci_fails_with_either_set_of_versions(
    tmp_path: Path, version: str, oldest: str, newest: str
) -> None:
    checkout = Checkout(tmp_path, version)
    (checkout.bin / "bash").symlink_to(shutil.which("bash") or "")
    (checkout.bin / "env").symlink_to(shutil.which("env") or "")
    done, asked = checkout.run(script=".ci/run", TESTS_FAIL=oldest, NEWEST_FAILS=newest)
    assert asked[:3] == ["venv", "install", "pytest"]
    if version == "3.12.1":
        assert asked[3:] == ["venv", "install newest", "newest pytest"], done.stderr
        assert done.returncode == (int(oldest) or int(newest))
    else:
        assert asked[3:] == []
        assert done.returncode == int(oldest)
        assert "The newest jax was not tested" in done.stderr.splitlines()[-1]


def experiments(*args: str, prelude: str = "") -> subprocess.CompletedProcess[str]:
    code = f"{prelude}\nfrom experiments.__main__ import main\nraise SystemExit(main({args!r}))"
    return subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.slow
def test_experiments_are_listed_without_importing_jax() -> None:
    done = experiments(prelude="import sys; sys.modules['jax'] = None")
    assert done.returncode == 0, done.stderr
    for name in ("quickstart", "reproduce"):
        assert re.search(rf"^  {name} +\S.*$", done.stdout, re.M), done.stdout


@pytest.mark.slow
def test_unknown_experiment_gets_the_nearest_name_and_the_list() -> None:
    done = experiments("quikstart")
    assert done.returncode == 2
    assert "There is no experiment named 'quikstart'. Did you mean quickstart?" in done.stderr
    assert "  reproduce" in done.stderr
    assert "Traceback" not in done.stderr


def test_every_public_file_and_folder_is_an_experiment(tmp_path: Path) -> None:
    from experiments.__main__ import find_experiments

    (tmp_path / "one.py").write_text('"""First line.\n\nMore."""\n')
    (tmp_path / "_two.py").write_text('"""Private."""\n')
    (tmp_path / "four.py").write_text("")
    for name in ("a_folder", "_three", "no_package"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "report.py").write_text('"""A part of it."""\n')
    for name in ("a_folder", "_three"):
        (tmp_path / name / "__init__.py").write_text('"""Of a folder."""\n')
    found = {"a_folder": "Of a folder.", "four": "", "one": "First line."}
    assert find_experiments(tmp_path) == found


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
