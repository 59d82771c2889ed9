"""Every path on a page exists, and every table is what its command printed."""

import json
import pathlib
import re
from typing import Any

import pytest

from scripts.benchmarks import attention, core, headline, model, removal, training

ROOT = pathlib.Path(__file__).parents[1]
README = ROOT / "README.md"
BENCHMARKS = ROOT / "docs" / "benchmarks.md"
PAGES = [README, *sorted((ROOT / "docs").rglob("*.md"))]
FIGURES = (ROOT / "results" / "quickstart" / "figure.png").exists()  # an sdist leaves them out
MADE = re.compile(r"(experiments|about_experiments|api/.*)\.md")  # by scripts/docs, in docs/


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_path_exists(page: pathlib.Path) -> None:
    text = page.read_text()
    for path in re.findall(r"\]\(([^)#:]+)\)", text):
        target = (page.parent / path).resolve()
        made = target.is_relative_to(ROOT / "docs") and MADE.fullmatch(
            target.relative_to(ROOT / "docs").as_posix()
        )
        figure = target.name == "figure.png" and not FIGURES
        assert made or figure or target.exists(), f"{page.name} links to {path}"
    for path in re.findall(r"(?<!tests/)scripts/[a-z_]+|tests/[\w/]+\.py", text):
        assert (ROOT / path).exists(), f"{page.name} names {path}"


def test_code_within_the_first_20_lines() -> None:
    assert any(line.startswith("```python") for line in README.read_text().splitlines()[:20])


def test_the_readme_is_short() -> None:
    assert len(README.read_text().splitlines()) <= 120


@pytest.mark.parametrize("page", [README, BENCHMARKS], ids=lambda p: p.name)
def test_the_headline_is_what_the_commands_printed(page: pathlib.Path) -> None:
    assert headline.table(ROOT / "results") in page.read_text()


@pytest.mark.parametrize(
    ("suite", "page"),
    [
        *((suite, BENCHMARKS) for suite in (core, model, attention, removal, training)),
        *(
            (suite, ROOT / "docs" / f"{suite.__name__.rpartition('.')[2]}.md")
            for suite in (attention, removal)
        ),
    ],
    ids=lambda one: one.name if isinstance(one, pathlib.Path) else one.__name__,
)
def test_a_page_has_what_its_benchmark_printed(suite: Any, page: pathlib.Path) -> None:
    name = suite.__name__.rpartition(".")[2]
    report = json.loads((ROOT / f"results/bench/{name}.json").read_text())
    assert suite.markdown(report["cases"]) in page.read_text()
