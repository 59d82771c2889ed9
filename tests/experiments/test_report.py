"""scripts/run report makes one page of results that fetches nothing and has every number."""

import dataclasses
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("tyro", reason="experiments need the extra jaxdrop[experiments]")
from experiments._commands import report  # noqa: E402  (after the check)
from experiments._harness import command, open_file  # noqa: E402  (after the check)
from experiments._harness.difference import leaves  # noqa: E402  (after the check)
from experiments._harness.experiment import Experiment  # noqa: E402  (after the check)

EMPTY = {"meta", "link", "img", "br"}
ODD = "<b>\"a\" & 'b'</b>"
NUMBERS: dict[str, Any] = {
    "rows": 5000,
    "arms": {
        ODD: {"error": [1.2345678, 2.5, 3.25], "layers": [{"zeros": 0.125}, {"zeros": 0.375}]},
        "none": {"error": [4.125, None, 6.0625], "history": [[7.5, 8.5, 9.5], [10.5, 11.5, 12.5]]},
    },
    "alone": {"best": {"rate": 1e-07}},
}


class Page(HTMLParser):
    """What a page holds; ``open`` is empty at the end of a well-formed one."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.values: list[str] = []  # of attributes
        self.links: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.values += [value or "" for _, value in attrs]
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, self.getpos()


def write(folder: Path, numbers: dict[str, Any], **config: Any) -> Path:
    folder.mkdir(parents=True)
    where = {"device": "1 x cpu", "jax": "0.0.1"}
    result = {"experiment": "sweep", "config": config, "environment": where, "seconds": 1.5}
    text = json.dumps(result | {"numbers": numbers, "digests": {}})
    (folder / "result.json").write_text(text)
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("made")
    one = write(folder / "one", NUMBERS, data=ODD, rates=[0.0625])
    (one / "figure.png").write_bytes(b"\x89PNG")
    write(folder / "deeper" / "two", {"rows": 77, "arms": NUMBERS["arms"]}, data="digits")
    assert report.main([str(folder), str(one), "--out", str(folder / "new" / "page.html")]) == 0
    return (folder / "new" / "page.html").read_text(encoding="utf-8")


def missing(text: str) -> set[str]:
    page = Page(text)
    shown = set(re.split(r", ", ", ".join(page.values)))
    return {str(n) for _, n in leaves(NUMBERS, "") if n is not None} - shown


def test_the_page_is_well_formed_and_holds_every_number(made: str) -> None:
    page = Page(made)
    assert page.open == [] and missing(made) == set()
    assert "77" in page.values and made.count("<h2>") == 1  # two results beside each other
    assert ">one<" in made and "none (deeper/two)" in made


def test_a_number_that_is_left_out_is_found(made: str) -> None:
    assert missing(made.replace("1.2345678", "1.2345")) == {"1.2345678"}


def test_values_are_escaped(made: str) -> None:
    assert ODD not in made and "b" not in Page(made).seen
    assert "&lt;b&gt;&quot;a&quot; &amp; &#x27;b&#x27;&lt;/b&gt;" in made


def test_nothing_is_fetched(made: str) -> None:
    links = Page(made).links
    assert {link.partition(":")[0] for link in links if link[0] != "#"} == {"data"}
    assert "data:image/png;base64,iVBORw==" in links and "No figure.png is in" in made
    assert not re.search(r"https?:|url\(|@import", made)


@pytest.mark.parametrize(
    "text, sentence",
    [
        (None, "holds no result.json; an experiment writes one: scripts/run quickstart"),
        ('{"experiment": "sweep"', "result.json"),
        ('{"experiment": "sweep", "config": {}}', "result.json"),
    ],
    ids=["none", "broken", "incomplete"],
)
def test_what_is_no_result_gets_a_sentence(
    text: str | None, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if text is not None:
        (tmp_path / "result.json").write_text(text)
    assert report.main([str(tmp_path), "--out", str(tmp_path / "page.html")]) == 2
    said = capsys.readouterr().err
    assert sentence in said and str(tmp_path) in said and "Traceback" not in said
    assert not (tmp_path / "page.html").exists()


def test_open_shows_it_where_there_is_a_display(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened: list[str] = []

    def shows(uri: str) -> bool:
        opened.append(uri)
        return True

    monkeypatch.setattr(open_file.webbrowser, "open", shows)
    monkeypatch.setattr(open_file.sys, "platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    given = [str(write(tmp_path / "a b", {"x": 1})), "--out", str(tmp_path / "page.html"), "--open"]
    assert report.main(given) == 0
    assert "There is no display here to show" in capsys.readouterr().err and not opened
    monkeypatch.setenv("DISPLAY", ":0")
    assert report.main(given) == 0
    assert opened == [(tmp_path / "page.html").as_uri()]
    monkeypatch.setattr(open_file.webbrowser, "open", lambda uri: False)
    assert report.main(given) == 0
    assert "No program was found that shows" in capsys.readouterr().err


@dataclasses.dataclass(frozen=True)
class Config:
    """No settings."""


def test_an_experiment_ends_with_its_figure_and_opens_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = Experiment(
        name="tiny",
        description="",
        Config=Config,
        check=lambda config: None,
        ticks=lambda config: 1,
        run=lambda config, tick: {"numbers": {"x": 1}, "digests": {}},
        show=lambda result, console: None,
        draw=lambda result, figure: None,
        resume_point=lambda config, folder: None,
    )
    opened: list[Path] = []
    monkeypatch.setattr(command, "load_experiment", lambda name: tiny)
    monkeypatch.setattr(command, "environment", dict)  # it asks git
    monkeypatch.setattr(command, "open_file", opened.append)
    figure = tmp_path / "figure.png"
    assert command.run_command("tiny", ["--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out.endswith(f"Figure: {figure}\n") and not opened
    assert command.run_command("tiny", ["--out", str(tmp_path), "--open"]) == 0
    assert opened == [figure] and figure.is_file()
