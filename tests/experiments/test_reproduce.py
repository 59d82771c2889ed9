"""What ``scripts/run reproduce`` says: which numbers differ, by how much, and why."""

import copy
import io
from typing import Any

import pytest
from rich.console import Console

from experiments._commands import reproduce
from experiments._harness.difference import ABSENT, differences

OLD: dict[str, Any] = {
    "experiment": "toy",
    "environment": {"jax": "0.10.2", "device": "1 x cpu", "commit": "abc"},
    "numbers": {"error": [4.0, 5.0], "steps": 100, "way": "map", "lost": None},
    "digests": {"net": ["a", "b"]},
}
NOW = {"xla_flags": "", "matmul_precision": "default", "fast_kernels": False}


def said(new: dict[str, Any], old: dict[str, Any] = OLD) -> tuple[int, str]:
    """Return the exit code and the text of the report."""
    text = io.StringIO()
    code = reproduce.report(old, new, Console(file=text, width=120))
    return code, text.getvalue()


def changed(**parts: dict[str, Any]) -> dict[str, Any]:
    """Return the old result with some fields of its parts replaced."""
    new = copy.deepcopy(OLD)
    for part, fields in parts.items():
        new[part] |= fields
    return new


def test_a_result_that_recorded_less_is_identical_to_its_rerun() -> None:
    code, text = said(changed(environment=NOW))
    assert code == 0 and "Identical: all 5 numbers and 2 digests of toy." in text
    assert "Not recorded then: fast_kernels, matmul_precision, xla_flags." in text
    assert "Different" not in text and "differ" not in text


def test_on_another_device_differences_have_their_size_and_a_reason() -> None:
    gpu = {"device": "1 x NVIDIA H200", "driver": "580.65.06", **NOW}
    code, text = said(changed(environment=gpu, numbers={"error": [4.0, 5.25], "steps": 99}))
    assert code == 1
    assert "Different device: 1 x cpu then, 1 x NVIDIA H200 now." in text
    assert "Different driver: none then, 580.65.06 now." in text
    assert "2 of 5 numbers differ" in text
    assert "Bits depend on device, driver: numbers may differ from the last digit on" in text
    (error,) = (line for line in text.splitlines() if "numbers.error.1" in line)
    assert [cell.strip() for cell in error.split("│")[1:-1]] == [
        *("numbers.error.1", "5.0", "5.25", "+0.25", "0.048"),
    ]
    (steps,) = (line for line in text.splitlines() if "numbers.steps" in line)
    assert [cell.strip() for cell in steps.split("│")[3:-1]] == ["99", "-1", "0.01"]
    assert "numbers.error.0" not in text


def test_the_largest_come_first_and_the_rest_is_counted() -> None:
    old = OLD | {"numbers": {"error": [1.0] * 30}}
    new = OLD | {"numbers": {"error": [1.0 + 0.001 * i for i in range(30)]}}
    code, text = said(new, old)
    shown = [line.split("│")[1].strip() for line in text.splitlines() if "numbers.error" in line]
    assert shown == [f"numbers.error.{i}" for i in range(29, 9, -1)]
    assert code == 1 and "29 of 30 numbers differ" in text
    assert "... and 9 more, by at most 0.0089 (relative)." in text


def test_what_is_no_number_on_both_sides_comes_before_all_that_is() -> None:
    then = {"a": 1.0, "b": None, "c": "map", "d": True, "e": 3}
    now = {"a": 2.0, "b": 1.0, "c": "vmap", "d": False, "f": None}
    found = differences(then, now)
    assert [one.name for one in found] == ["b", "c", "d", "e", "f", "a"]
    assert [one.absolute for one in found] == [None] * 5 + [1.0]
    assert found[3].now == ABSENT == found[4].then and found[4].now is None


def test_zero_and_a_sign_have_a_relative_difference() -> None:
    (zero,) = differences({"a": 0.0}, {"a": 1e-9})
    assert zero.relative == 1 and zero.absolute == 1e-9
    (sign,) = differences({"a": -1.0}, {"a": 1.0})
    assert sign.relative == 2


def test_parameters_that_differ_are_named() -> None:
    code, text = said(changed(digests={"net": ["a", "c"]}))
    assert code == 1 and "Parameters differ: 1 of 2 digests (digests.net.1)." in text
    assert "numbers differ," not in text


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({}, "are the same as far as they are recorded"),
        ({"commit": "def"}, "are the same as far as they are recorded"),
        ({"jax": "0.12.0"}, "Bits depend on jax: numbers may differ"),
        ({**NOW, "fast_kernels": True}, "Fast kernels now: the order of sums may be another"),
    ],
)
def test_the_reason_follows_from_what_changed(environment: dict[str, Any], sentence: str) -> None:
    code, text = said(changed(environment=environment, numbers={"steps": 101}))
    assert code == 1 and sentence in text


def test_both_runs_with_fast_kernels_are_named() -> None:
    old = changed(environment={**NOW, "fast_kernels": True})
    new = copy.deepcopy(old) | {"numbers": OLD["numbers"] | {"steps": 101}}
    assert "Fast kernels then and now:" in said(new, old)[1]
