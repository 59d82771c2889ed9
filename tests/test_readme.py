"""Every snippet of the README runs, every path in it exists, its table is the benchmark's."""

import json
import pathlib
import re

import jax
import jax.numpy as jnp
import pytest

import jaxdrop
from scripts.benchmarks import attention, core, model, removal

ROOT = pathlib.Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_snippet_runs(page):
    names: dict[str, object] = {}
    if page.name != "README.md":  # which stands alone; the other pages take these for granted
        names = {"jax": jax, "jnp": jnp, "jaxdrop": jaxdrop, "key": jax.random.key(0)}
        names |= {"x": jnp.ones((3, 4)), "ids": jnp.arange(3)}
    for snippet in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL):
        exec(compile(snippet, page.name, "exec"), names)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_path_exists(page):
    text = page.read_text()
    named = re.findall(r"\]\(([^)#:]+)\)", text) + [
        str(pathlib.Path("..") / p if page.parent != ROOT else p)
        for p in re.findall(r"(?<!tests/)scripts/[a-z_]+|tests/[\w/]+\.py", text)
    ]
    for path in named:
        assert (page.parent / path).resolve().exists(), f"{page.name} names {path}"


def test_code_within_the_first_20_lines():
    assert any(line.startswith("```python") for line in PAGES[0].read_text().splitlines()[:20])


def test_what_it_costs_is_what_the_benchmark_printed():
    report = json.loads((ROOT / "results/bench/model.json").read_text())
    assert model.markdown(report["cases"]) in PAGES[0].read_text()


@pytest.mark.parametrize("suite", [attention, removal])
def test_a_page_has_what_its_benchmark_printed(suite):
    name = suite.__name__.rpartition(".")[2]
    report = json.loads((ROOT / f"results/bench/{name}.json").read_text())
    assert suite.markdown(report["cases"]) in (ROOT / f"docs/{name}.md").read_text()


def test_the_table_is_what_the_benchmark_printed():
    report = json.loads((ROOT / "results/bench/core.json").read_text())
    assert core.markdown(report["cases"]) in PAGES[0].read_text()
