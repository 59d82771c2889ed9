"""What is released: one version, what wheel and sdist hold; scripts/package builds them."""

import re
import tomllib

import jaxdrop
from scripts.package_check import MOST, sdist_faults, wheel_faults
from tests.scripts.checkout import ROOT


def test_the_version_stands_in_one_place() -> None:
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert pyproject["project"]["dynamic"] == ["version"]
    assert pyproject["tool"]["hatch"]["version"]["path"] == "jaxdrop/__init__.py"
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.findall(r"^version: (.*)$", citation, re.MULTILINE) == [jaxdrop.__version__]


def test_a_wheel_holds_the_package_alone() -> None:
    good = ["jaxdrop/__init__.py", "jaxdrop/py.typed", "jaxdrop-0.1.0.dist-info/METADATA"]
    assert wheel_faults(good) == []
    assert wheel_faults([*good, "tests/conftest.py"]) == ["the wheel has tests/conftest.py"]
    assert wheel_faults(good[:1]) == ["the wheel lacks jaxdrop/py.typed"]


def test_an_sdist_holds_what_its_tests_need_and_no_large_file() -> None:
    needed = ("tests/conftest.py", "constraints.txt", "results/bench/core.json", "scripts/_env")
    sizes = dict.fromkeys(needed, MOST)
    assert sdist_faults(sizes) == []
    assert sdist_faults(sizes | {"results/a.bin": MOST + 1}) == [
        f"the sdist has results/a.bin of {MOST + 1} bytes"
    ]
    assert sdist_faults(dict.fromkeys(needed[1:], 1)) == ["the sdist lacks tests/conftest.py"]
