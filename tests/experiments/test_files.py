"""Files of experiments: damaged, missing, not writable, oddly named: a sentence, nothing lost."""

import errno
import os
import signal
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

pytest.importorskip("tyro", reason="experiments need the extra jaxdrop[experiments]")
from experiments import concrete  # noqa: E402
from experiments._data import images, texts  # noqa: E402
from experiments._harness import kept, result  # noqa: E402
from experiments._harness.command import run_command  # noqa: E402
from experiments._harness.ending import politely  # noqa: E402
from experiments._harness.result import CannotRun  # noqa: E402

pytestmark = pytest.mark.slow


def test_every_flipped_bit_and_every_swap_of_what_is_kept_is_seen(tmp_path: Path) -> None:
    one, two = tmp_path / "one.numbers", tmp_path / "two.numbers"
    found = [np.array([0.1, np.nan, -np.inf]), np.float64(2).reshape(())]
    kept.keep(one, found)
    kept.keep(two, [np.zeros(3), np.ones(())])
    jax.tree.map(np.testing.assert_array_equal, kept.kept(one), found)
    raw = one.read_bytes()
    damaged = [two.read_bytes(), b"", raw[:-1], raw + b"\0"]
    for bit in range(8 * len(raw)):
        flipped = bytearray(raw)
        flipped[bit // 8] ^= 1 << bit % 8
        damaged.append(bytes(flipped))
    for content in damaged:
        one.write_bytes(content)
        with pytest.raises(CannotRun, match="one.numbers is damaged: its checksum .* remove it"):
            kept.kept(one)
    one.unlink()
    with pytest.raises(CannotRun, match="one.numbers cannot be read"):
        kept.kept(one)


def test_a_damaged_part_is_told_before_and_during_a_run(tmp_path: Path, capsys: Any) -> None:
    command = ["--out", str(tmp_path)]
    work = tmp_path / "unfinished" / "work"
    from experiments._harness import unfinished

    unfinished.open_unfinished(tmp_path, "concrete", concrete.Config())
    (work / "concrete-20-0.tree").write_bytes(b"rust")
    assert run_command("concrete", command) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "concrete-20-0.tree is damaged: its checksum" in line
    assert (work / "concrete-20-0.tree").read_bytes() == b"rust"


def test_an_interrupt_that_jax_made_another_error_of_is_one(capsys: Any) -> None:
    def work() -> int:
        try:
            signal.raise_signal(signal.SIGTERM)
        except KeyboardInterrupt as error:
            raise RuntimeError("CpuCallback error calling callback") from error
        return 0

    before = signal.getsignal(signal.SIGTERM)
    assert politely(work) == 143
    assert capsys.readouterr().err.startswith("Stopped. Nothing of this run was saved")
    assert signal.getsignal(signal.SIGTERM) is before
    with pytest.raises(RuntimeError, match="of its own"):
        politely(lambda: (_ for _ in ()).throw(RuntimeError("of its own")))


def test_any_file_that_fails_is_a_sentence(tmp_path: Path, capsys: Any) -> None:
    assert politely(lambda: len((tmp_path / "none").read_text())) == 2
    assert f"{tmp_path}/none cannot be read or written (No such file" in capsys.readouterr().err


def test_data_are_read_from_folders_of_any_name(tmp_path: Path) -> None:
    odd = tmp_path / "a[1]*"
    odd.mkdir()
    (odd / "b.txt").write_text("text")
    assert texts.load_text("python", str(odd)).tobytes() == b"text"
    with pytest.raises(CannotRun, match="type: scripts/run fetch mnist"):
        images.load("mnist", "no\0where")
    with pytest.raises(CannotRun, match=r"has no \*.txt"):
        texts.load_text("python", "no\0where")


@pytest.mark.parametrize("name", ["result.json", "figure.png"])
def test_what_was_there_stays_when_writing_fails(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text("old")
    with pytest.raises(CannotRun, match=f"{name} cannot be written .No space"):
        with result.whole_file(path) as partial:
            partial.write_text("half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert path.read_text() == "old" and len(list(tmp_path.iterdir())) == 1
