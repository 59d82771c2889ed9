"""scripts/run and scripts/test set up .venv, and say what is in the way."""

import shutil
from pathlib import Path

import pytest

from tests.scripts.checkout import RUN, Checkout


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
