"""The workflows call commands that exist, on the Pythons that the package names; none has run."""

import re
import tomllib
from typing import Any

import pytest

from tests.scripts.checkout import ROOT

yaml: Any = pytest.importorskip("yaml", reason="flax brings it")

FOLDER = ROOT / ".github" / "workflows"
FILES = sorted(FOLDER.glob("*.yml"))


def read(name: str) -> dict[str, Any]:
    return yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))


def test_there_are_workflows_for_tests_docs_and_releases() -> None:
    assert {p.stem for p in FILES} == {"tests", "nightly", "docs", "release"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_workflow_calls_commands_that_exist_and_may_do_no_more_than_it_has_to(path: Any) -> None:
    workflow, text = read(path.name), path.read_text(encoding="utf-8")
    assert workflow["permissions"] == {"contents": "read"}
    assert all(job["timeout-minutes"] <= 120 for job in workflow["jobs"].values())
    called = set(re.findall(r"scripts/\w+", text))
    assert called and all((ROOT / command).is_file() for command in called)
    assert "index-url" not in text


def test_the_tests_run_on_every_python_that_the_package_names() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = set(re.findall(r"Python :: (3\.\d+)", "\n".join(project["classifiers"])))
    runs = read("tests.yml")["jobs"]["tests"]["strategy"]["matrix"]["include"]
    assert {run["python"] for run in runs if run["versions"] == "oldest"} == named
    assert {run["python"] for run in runs if run["versions"] == "newest"} == named - {"3.11"}


def test_a_release_is_refused_if_its_tag_is_not_the_version() -> None:
    jobs = read("release.yml")["jobs"]
    checks = [step["run"] for step in jobs["build"]["steps"] if "run" in step]
    assert 'test "$GITHUB_REF_NAME" = "v$version"' in checks[0]
    (pattern,) = re.findall(r"s/(\^__version__.*\$)/", checks[0])
    line = re.compile(pattern.replace(r"\(", "(").replace(r"\)", ")"), re.MULTILINE)
    assert line.findall((ROOT / "jaxdrop" / "__init__.py").read_text(encoding="utf-8"))
    assert jobs["publish"]["needs"] == "build"
    assert jobs["publish"]["permissions"] == {"id-token": "write"}


def test_the_forms_for_issues_are_well_formed() -> None:
    for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("[!c]*.yml"):
        form = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert {"name", "description", "body"} <= form.keys()
        names = [part["id"] for part in form["body"]]
        assert len(names) == len(set(names)) > 0


def test_the_recipe_needs_what_the_package_needs() -> None:
    recipe = (ROOT / "recipe" / "recipe.yaml").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    run = recipe.partition("  run:\n")[2].partition("\n\n")[0]
    needed = {line.strip("- ").replace(" ", "") for line in run.splitlines()[1:]}
    assert needed == {one.split("#")[0].strip() for one in project["dependencies"]}
    version = (ROOT / "jaxdrop" / "__init__.py").read_text(encoding="utf-8")
    assert f"__version__ = {re.findall(r'version: (.*)', recipe)[0]}" in version
