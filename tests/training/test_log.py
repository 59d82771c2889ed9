"""metrics.jsonl: half a line after a kill is normal; other damage is kept and reported."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import jaxdrop.training as jt
from jaxdrop.training._log import Log, _undamaged_lines
from tests.training import small_run as small

Damage = Callable[[bytes], bytes]


@pytest.fixture
def written(tmp_path: Path) -> tuple[Path, np.ndarray]:
    """Six lines of steps 1 to 6, with half of a seventh, and the record of step 4."""
    log = Log(tmp_path, 0, write=True, tensorboard=False)
    for step in range(1, 7):
        log.write(step, {"loss": 1 / step, "n": step, "odd": float("nan"), "yes": True})
        if step == 4:
            record = log.record()
    log.close()
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 7, "lo')
    return tmp_path / "metrics.jsonl", record


def line(number: int, change: Damage) -> Damage:
    def damage(content: bytes) -> bytes:
        lines = content.splitlines(keepends=True)
        lines[number - 1] = change(lines[number - 1])
        return b"".join(lines)

    return damage


def opened(path: Path, record: np.ndarray | None) -> list[dict[str, Any]]:
    log = Log(path.parent, 4, record, write=True, tensorboard=False)
    log.close()
    assert [json.loads(text) for text in path.read_text().splitlines()] == log.lines
    return log.lines


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("cut", [0, 10, 60])
def test_the_end_that_a_kill_leaves_is_done_again(
    known: bool, cut: int, written: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    path, record = written
    path.write_bytes(path.read_bytes()[: -cut or None])
    assert [x["step"] for x in opened(path, record if known else None)] == [1, 2, 3, 4]
    assert list(path.parent.iterdir()) == [path] and not capsys.readouterr().err


@pytest.mark.parametrize(
    "damage, left, sentence, unseen",
    [
        (line(1, lambda b: b"x" + b), [2, 3, 4], "line 1 is damaged: it is not JSON", False),
        (line(1, lambda b: b"\xff" + b), [2, 3, 4], "line 1 .*: byte 0 is not UTF-8", False),
        (line(2, lambda b: b[:9] + b"\0" * 9 + b[18:]), [1, 3, 4], "line 2 is damaged", False),
        (line(3, lambda b: b[:20] + b"\n"), [1, 2, 4], "line 3 .*; 1 of its 4 lines are", False),
        (line(4, lambda b: b"[4]\n"), [1, 2, 3], r"line 4 .*: it is \[4\], expected an obj", False),
        (line(4, lambda b: b'{"loss": 3}\n'), [1, 2, 3], "line 4 .*: step is null", False),
        (line(2, lambda b: b.replace(b"2", b"9")), [1, 3, 4], "line 2 is of step 9, and", False),
        (line(2, lambda b: b'{"step": 2, "loss": "a"}\n'), [1, 3, 4], 'loss is "a", exp', False),
        (line(2, lambda b: b'{"step": 2, "loss": NaN}\n'), [1, 3, 4], "NaN is no number", False),
        (line(2, lambda b: b.replace(b"0.5", b"0.7")), [1, 2, 3, 4], "not those that were", True),
        (line(2, lambda b: b""), [1, 3, 4], "1 of its 4 lines are missing", True),
        (lambda b: b[:70], [1], "3 of its 4 lines are missing", True),
        (lambda b: b"", [], "4 of its 4 lines are missing", True),
        (lambda b: b"\0" * len(b), [], "4 of its 4 lines are missing", True),
    ],
)  # fmt: skip
def test_nothing_is_erased_that_was_not_understood(
    damage: Damage, left: list[int], sentence: str, unseen: bool, written: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    path, record = written
    whole = damaged = damage(path.read_bytes())
    for number, known in enumerate([record, None][: 1 if unseen else 2], 1):
        path.write_bytes(damaged)
        assert [values["step"] for values in opened(path, known)] == left
        aside = path.with_name(f"metrics-damaged-{number}.jsonl")
        told = capsys.readouterr().err
        assert aside.read_bytes() == whole and f"is kept in {aside}" in told
        assert f"Note: {path} is damaged up to step 4 (" in told
        assert re.search(sentence if number == 1 else sentence.partition(";")[0], told)
        assert f"continues with the {len(left)} lines that can be read" in told


def test_a_file_that_is_gone_is_missed(written: Any, capsys: pytest.CaptureFixture[str]) -> None:
    path, record = written
    path.unlink()
    assert opened(path, record) == []
    assert "(4 of its 4 lines are missing)" in capsys.readouterr().err


@pytest.mark.slow
def test_no_flipped_bit_goes_unnoticed(written: Any) -> None:
    path, record = written
    content = path.read_bytes()
    lines, wrong = _undamaged_lines(path, 4, record)
    end = len(b"".join(lines))
    assert not wrong and 100 < end < len(content)
    for bit in range(0, 8 * len(content), 3):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        found, wrong = _undamaged_lines(path, 4, record)
        assert wrong if bit // 8 < end else (found, wrong) == (lines, [])


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").mkdir()
    with pytest.raises(jt.CheckpointError, match="metrics.jsonl cannot be written to .Is a direct"):
        Log(tmp_path, 0, write=True, tensorboard=False)


@pytest.mark.slow
def test_fit_goes_on_beside_a_damaged_history(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state, lines = small.run(folder=tmp_path, epochs=2)
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(damaged := b"\xff" + path.read_bytes())
    again, rest = small.run(folder=tmp_path, epochs=2)
    assert small.same(state, again) and rest == lines[1:]
    assert "1 of its 10 lines are missing" in capsys.readouterr().err
    assert (tmp_path / "metrics-damaged-1.jsonl").read_bytes() == damaged
    # The lines it continues with are those that the next checkpoint knows.
    _, more = small.run(folder=tmp_path)
    assert more[:9] == rest and "damaged" in capsys.readouterr().err
    _, more = small.run(folder=tmp_path)
    assert "damaged" not in capsys.readouterr().err
