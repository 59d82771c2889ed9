"""The site: its reference has every public name, its links lead somewhere; without building it."""

import importlib
import pkgutil
import re
from collections import Counter
from pathlib import Path

import pytest

import jaxdrop
from tests.scripts.checkout import ROOT

pytest.importorskip("tyro", reason="experiments need the extra jaxdrop[experiments]")
from scripts.site import experiments_page, reference, stage  # noqa: E402

SUBMODULES = {m.name for m in pkgutil.iter_modules(jaxdrop.__path__) if m.name[0] != "_"}


def public(module: str) -> set[str]:
    """The names that a module's file says it offers: those that it imports as themselves."""
    text = Path(str(importlib.import_module(module).__file__)).read_text(encoding="utf-8")
    names = re.findall(r"^(?:from .* import |    )(\w+) as (\w+),?$", text, re.MULTILINE)
    return {name for name, same in names if name == same and name[0] != "_"} - SUBMODULES


def test_every_public_module_has_a_page() -> None:
    assert {*reference.ABOUT} == {"jaxdrop", *(f"jaxdrop.{name}" for name in SUBMODULES)}


@pytest.mark.parametrize("module", reference.ABOUT)
def test_every_public_name_is_on_its_page_once(module: str) -> None:
    text = reference.page(module)
    lists = re.findall(r":nosignatures:\n\n(.*?)\n```", text, re.DOTALL)
    listed = Counter(name.strip() for part in lists for name in part.splitlines())
    assert {name for name, times in listed.items() if times > 1} == set()
    missing, unknown = public(module) - {*listed}, {*listed} - public(module)
    assert not missing, f"{sorted(missing)} are not on the page of {module}"
    assert not unknown, f"{module} has no {sorted(unknown)}"


def test_a_name_without_a_group_is_on_the_page(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(reference.OTHERS, "jaxdrop.recurrent", {})
    test_every_public_name_is_on_its_page_once("jaxdrop.recurrent")


def test_a_name_that_is_left_out_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(reference.OTHERS, "jaxdrop.recurrent", {"": ("RECURRENT_LAYERS",)})
    monkeypatch.setattr(reference, "public", lambda module: set())
    with pytest.raises(AssertionError, match=r"\['is_recurrent_kernel'\] are not on the page"):
        test_every_public_name_is_on_its_page_once("jaxdrop.recurrent")


def test_links_lead_from_where_a_page_is_on_the_site() -> None:
    sources = {"first": Path("docs/family.md"), "reports/gpu": Path("results/prove/gpu.md")}
    page = "[a](family.md#x) [b](../results/prove/gpu.md) [c](../README.md) [d](no.md)"
    moved = stage.with_links(page, "learn/this", Path("docs/this.md"), sources, ROOT)
    assert moved == "[a](../first.md#x) [b](../reports/gpu.md) [c](../../README.md) [d](no.md)"


def test_every_page_is_in_a_list_of_contents() -> None:
    texts = stage.pages(ROOT)
    assert stage.listed(texts) == {*texts} - {"index"}


def test_a_page_that_nobody_listed_is_found() -> None:
    texts = {"index": "```{toctree}\n:hidden:\n\na\nb/c.md\n```", "a": "", "b/c": "", "d": ""}
    assert stage.listed(texts) == {"a", "b/c"}


def test_the_page_of_the_experiments_has_all_that_have_a_figure() -> None:
    text = experiments_page.page(ROOT)
    shown = {*re.findall(r"\]\(\.\./results/(\w+)/figure\.png\)", text)}
    figures = {path.parent.name for path in (ROOT / "results").glob("*/figure.png")}
    if not figures:
        pytest.skip("an sdist leaves the figures out")
    assert shown == figures - {"kill_and_resume"}  # which has a report of its own
    assert all(f"`scripts/run {name}" in text for name in shown)
