"""SIGKILL: what scripts/kills does twenty times, three times; and that it sees what is wrong."""

import json
from pathlib import Path

import pytest

from scripts import kill_and_resume

pytestmark = pytest.mark.usefixtures("unoptimised")

ROOT = Path(__file__).parents[2]


def test_three_kills_lose_nothing(tmp_path: Path) -> None:
    report = kill_and_resume.experiment(3, seed=1, folder=tmp_path)
    assert kill_and_resume.holds(report), report
    assert len(report["kills"]) == 3 and report["inside_a_write"] >= 1
    assert report["kills"][2]["resumed_from"] > report["kills"][0]["resumed_from"] == 0
    assert report["arrays"] > 20 and report["metrics_lines"] > report["steps"]


def test_the_committed_report_is_of_twenty_kills_and_holds() -> None:
    report = json.loads((ROOT / "results" / "training" / "kills.json").read_text())
    assert len(report["kills"]) >= 20 and report["inside_a_write"] >= 3
    assert kill_and_resume.holds(report)
    text = (ROOT / "results" / "training" / "kills.md").read_text()
    assert text == kill_and_resume.markdown(report)


def test_a_lost_step_or_another_number_is_seen() -> None:
    whole = {"saved_steps_lost": 0, "arrays_that_differ": [], "metrics_identical": True}
    assert kill_and_resume.holds(whole)
    for wrong in (
        {"saved_steps_lost": 1},
        {"arrays_that_differ": [".step"]},
        {"metrics_identical": False},
    ):
        assert not kill_and_resume.holds(whole | wrong)
