"""SIGKILL: what scripts/kill_and_resume does fifty times, twice; and that it sees what is wrong."""

import copy
import json
import random
from pathlib import Path
from typing import Any

import pytest

from scripts import kill_and_resume
from scripts.kill_report import WHERE, counts, markdown
from scripts.kill_subjects import SUBJECTS

RESULTS = Path(__file__).parents[2] / "results" / "kill_and_resume"


@pytest.mark.slow
def test_a_kill_loses_nothing(tmp_path: Path) -> None:
    """Of a sweep; tests/scripts/test_prove_device.py kills a run of fit."""
    part = kill_and_resume.kill_often(SUBJECTS["sweep"], 1, random.Random(1), tmp_path)
    assert kill_and_resume.holds({"subjects": {"sweep": part}}), part
    assert len(part["kills"]) == 1 and part["rounds"] >= 1 and part["compared"] >= 1


def stored() -> dict[str, Any]:
    return json.loads((RESULTS / "report.json").read_text())


def test_the_committed_report_is_of_fifty_kills_and_holds() -> None:
    report = stored()
    assert report["holds"] and kill_and_resume.holds(report)
    assert set(report["subjects"]) == set(SUBJECTS)
    total = dict(zip(("killed", "kills", *WHERE), counts(report)[-1], strict=False))
    assert total["kills"] >= 50 and total["inside a write"] >= 10 and total["between writes"] >= 10
    for part in report["subjects"].values():
        assert sum(row["where"] == "inside a write" for row in part["kills"]) >= 2
    assert (RESULTS / "report.md").read_text() == markdown(report)


def test_lost_work_or_another_number_is_seen() -> None:
    for name in SUBJECTS:
        lost, other, nothing = (copy.deepcopy(stored()) for _ in range(3))
        lost["subjects"][name]["kills"][3]["lost"] = True
        other["subjects"][name]["differ"] = ["numbers"]
        nothing["subjects"][name]["compared"] = 0
        assert not any(map(kill_and_resume.holds, (lost, other, nothing)))


def test_the_kills_are_shared_out() -> None:
    assert kill_and_resume.shares(50) == {"fit": 20, "sweep": 15, "experiment": 15}
    assert sum(kill_and_resume.shares(7).values()) == 7
