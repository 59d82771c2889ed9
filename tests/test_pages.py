"""Every block of Python on a page of the project runs, on its own, as it is copied."""

import pathlib
import re
from typing import Any

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: pathlib.Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.slow
@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p)], ids=lambda p: p.name)
def test_every_block_runs_on_its_own(page: pathlib.Path) -> None:
    for number, block in enumerate(blocks(page)):
        names: dict[str, Any] = {}
        exec(compile(block, f"{page.name}, block {number}", "exec"), names)


def test_tutorials_are_executed_when_the_site_is_built() -> None:
    """Their blocks are cells, which a build runs one after another; none is left out of it."""
    tutorials = sorted((ROOT / "docs" / "tutorials").glob("*.md"))
    assert len(tutorials) == 7
    for page in tutorials:
        text = page.read_text(encoding="utf-8")
        assert text.startswith("---\njupytext:") and "```{code-cell} ipython3\n" in text
        assert "```python" not in text
