"""constraints.txt names every requirement, and no registry."""

import re
import tomllib

from tests.scripts.checkout import ROOT

COMPILE = (
    "uv pip compile --universal --python-version 3.11 --fork-strategy fewest pyproject.toml "
    "--all-extras --no-header --no-annotate --no-emit-index-url --no-emit-find-links "
    "-o constraints.txt"
)


def _constraints() -> list[str]:
    return (ROOT / "constraints.txt").read_text().splitlines()


def test_constraints_hold_versions_and_markers_only() -> None:
    one = r"[a-z_]+ [!=<>]+ '[^']+'"
    entry = re.compile(rf"[a-z0-9.-]+==[0-9][0-9a-z.]*( ; {one}( and {one})*)?")
    assert [line for line in _constraints() if not entry.fullmatch(line)] == []


def test_constraints_name_every_requirement() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    del extras["peers"]  # torch: gigabytes, and installed by hand where its comparison is wanted
    asked = sum(extras.values(), project["dependencies"])
    names = {re.split(r"[\[<>=!~ ]", line)[0] for line in asked}
    pinned = {line.partition("==")[0] for line in _constraints()}
    assert names - pinned == set(), f"not in constraints.txt; make it again by: {COMPILE}"
