"""What scripts/prove gpu says of attention: a mask in memory and a message too many are found."""

import json
from pathlib import Path
from typing import Any

import jax
import pytest
from jax.sharding import AxisType

from scripts.proofs import attention, report

ROOT = Path(__file__).parents[2]
LENGTH = 64


def compile_for_cpu(f: Any, *shapes: Any) -> Any:
    return jax.jit(f).lower(*shapes).compile()


def compile_split(f: Any, shapes: Any, out: Any) -> Any:
    return jax.jit(f, out_shardings=out).lower(*shapes).compile()


def broken(checks: report.Checks) -> list[str]:
    return [row["claim"] for row in checks.rows if not row["holds"]]


@pytest.mark.slow
def test_a_mask_in_memory_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    flax = attention.flax(0.1)  # on a CPU it stores random words
    planted = {"none": attention.ours(0.0), "jaxdrop": flax, "flax": flax}
    monkeypatch.setattr(attention, "SUBJECTS", planted)
    monkeypatch.setattr(attention, "WAYS", {"forward": attention.forward})
    checks = report.Checks()
    rows = attention.memory(compile_for_cpu, LENGTH)
    attention.check_memory(rows, checks)
    assert broken(checks)[0] == "attention, forward: no mask buffer beyond those without dropout"
    assert rows[0]["mask buffers"] == 0 < rows[1]["mask buffers"]
    assert "| forward | none |" in attention.markdown(rows)


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({}, []),
        ({"mask buffers": 1}, ["no mask buffer beyond those without dropout"]),
        ({"temp MiB": 103.0}, ["temp memory within 2% of no dropout"]),
        ({"times half the length": 4.0}, ["at most 2.2 times the memory of half the length"]),
        ({"passes over memory": 9}, ["no more passes over memory than without dropout"]),
    ],
)
def test_each_claim_can_be_broken(changed: dict[str, Any], found: list[str]) -> None:
    row = {"pass": "gradient", "dropout": "none, causal", "temp MiB": 100.0, "mask buffers": 0}
    row |= {"times half the length": 2.0, "passes over memory": 8}
    ours = row | {"dropout": "jaxdrop, causal"} | changed
    checks = report.Checks()
    attention.check_memory([row, ours, row | {"dropout": "flax"}], checks)
    assert broken(checks) == [f"attention, gradient, causal: {claim}" for claim in found]
    assert len(checks.rows) == 4


@pytest.mark.slow
@pytest.mark.parametrize(("reads", "holds"), [(False, True), (True, False)])
def test_a_message_too_many_is_found(
    reads: bool, holds: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ours(rate: float, **options: Any) -> attention.Attend:
        if rate and reads:  # the mean of the batch, which is split
            return lambda key, q, k, v: q - q.mean(0, keepdims=True)
        return real(rate, **options)

    real = attention.ours
    monkeypatch.setattr(attention, "ours", ours)
    monkeypatch.setattr(attention, "SPLITS", {"batch": attention.SPLITS["batch"]})
    monkeypatch.setattr(attention, "WAYS", {"forward": attention.forward})
    mesh = jax.make_mesh((4,), ("devices",), (AxisType.Auto,), devices=jax.devices()[:4])
    checks = report.Checks()
    attention.check_sent(attention.over_four(compile_split, [mesh], LENGTH), checks)
    (row,) = checks.rows
    assert row["holds"] == holds
    assert row["found"].endswith("1 programs" if holds else "; not batch, Auto, forward")


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({}, []),
        ({"bytes spilled": 16}, ["no register is spilled"]),
        (
            {"sent inside shard_map": ["all-gather"]},
            ["with its gradient inside shard_map it sends nothing"],
        ),
    ],
)
def test_what_the_kernel_should_not_do_is_found(changed: dict[str, Any], found: list[str]) -> None:
    row = {"causal": True, "registers": 242, "bytes spilled": 0, "temp MiB": 32.0}
    checks = report.Checks()
    attention.check_fused([row | {"sent inside shard_map": []} | changed], checks)
    assert broken(checks) == [f"attention, experimental kernel, causal: {claim}" for claim in found]


def test_the_page_has_the_numbers_of_the_report() -> None:
    page = " ".join((ROOT / "docs" / "attention.md").read_text().split())
    rows = json.loads((report.FOLDER / "gpu.json").read_text())["attention"]["memory"]
    temp = {(row["pass"], row["dropout"]): row["temp MiB"] for row in rows}
    for name in ("jaxdrop", "flax"):
        assert f"{temp['forward', name]} MiB forward and {temp['gradient', name]} MiB" in page
    assert all(not row["mask buffers"] for row in rows if row["dropout"] == "jaxdrop")
