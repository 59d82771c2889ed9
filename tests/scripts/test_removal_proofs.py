"""Steps that leave out what is dropped: what the page says, and what the proof counts."""

import json
import re
from pathlib import Path

import jax
import pytest

from scripts.benchmarks import removal as bench
from scripts.proofs import removal, report

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/removal.md").read_text()


def test_the_page_has_what_the_benchmark_printed():
    stored = json.loads((ROOT / "results/bench/removal.json").read_text())
    assert bench.markdown(stored["cases"]) in PAGE


def test_the_page_has_what_was_compiled():
    report_of_all = (ROOT / "results/prove/gpu.md").read_text()
    (table,) = re.findall(r"(\| network \| dropped \| GFLOP.*?)\n\n", report_of_all, re.DOTALL)
    assert table in PAGE


@pytest.mark.slow
def test_steps_are_counted(monkeypatch):
    def compiled(f, *shapes):
        return jax.jit(f).lower(*shapes).compile()

    monkeypatch.setattr(bench, "CASES", {"transformer mlp": bench.CASES["transformer mlp"]})
    monkeypatch.setattr(bench, "CHOICES", {"blocks of 64": {"block_size": 64}})
    dense, masked, blocks = removal.steps(compiled, bench.Config(tokens=64, model=128))
    assert (dense["dropped"], dense["of dense"]) == ("dense", 1.0)
    assert masked["of dense"] > 0.95 and 0.45 < blocks["of dense"] < 0.6
    assert dense["launches"] > 0


@pytest.mark.parametrize(("share", "holds"), [(0.32, True), (0.33, False)])
def test_the_promise_is_checked(share, holds):
    checks = report.Checks()
    removal.check([{"network": "mlp", "dropped": "blocks of 64", "of dense": share}], checks)
    assert [row["holds"] for row in checks.rows] == [holds]
