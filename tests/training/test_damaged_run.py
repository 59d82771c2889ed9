"""Damage to a run's files, bit by bit: it is noticed, and the checkpoint before can be resumed."""

import shutil
from pathlib import Path
from typing import Any

import pytest

import jaxdrop.training as jt
from jaxdrop.training._fingerprint import linear_fingerprint
from jaxdrop.training._typed_keys import words_of_keys
from tests.training import small_run as small
from tests.training.saved_run import BREAKS_ORBAX, refused, restore

pytestmark = pytest.mark.slow


def test_a_damaged_run_file_is_an_error(folder: Path) -> None:
    deep = b'{"config": ' + b"[" * 5000 + b"]" * 5000 + b"}"
    for content in (b'{"seed": 0', b"[]", b"", b"\xff", b'{"seed": NaN}', deep):
        (folder / "run.json").write_bytes(content)
        refused(folder, r"run.json is damaged: .*; nothing was changed. Choose another folder")


def files_of(folder: Path, step: int) -> list[Path]:
    return sorted(p for p in (folder / "checkpoints" / str(step)).rglob("*") if p.is_file())


@BREAKS_ORBAX
def test_a_damaged_checkpoint_is_an_error_and_the_one_before_can_be_resumed(folder: Path) -> None:
    path = max(files_of(folder, 4), key=lambda p: p.stat().st_size)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    sentence = (
        r"the checkpoint of step 4 in .* is damaged .* to resume from step 3, .* delete .*/4$"
    )
    refused(folder, sentence)
    shutil.rmtree(folder / "checkpoints" / "4")
    state, _ = small.run(folder=folder, config={"rate": 0.5})
    assert small.same(state, small.run()[0])


@BREAKS_ORBAX
def test_every_missing_file_and_every_flipped_bit_is_noticed(folder: Path) -> None:
    """It is an error, or makes no difference: the numbers that come back are those saved."""
    like = small.linen_state()
    whole = restore(folder, like)
    for path in files_of(folder, 4):
        text = path.read_bytes()
        path.unlink()
        check_damage(folder, like, whole)
        for place in range(0, len(text), max(1, len(text) // 6)):
            path.write_bytes(text[:place] + bytes([text[place] ^ 16]) + text[place + 1 :])
            check_damage(folder, like, whole)
        path.write_bytes(text)
    assert small.same(restore(folder, like), whole)


def check_damage(folder: Path, like: Any, whole: Any) -> None:
    try:
        read = restore(folder, like)
    except jt.CheckpointError as error:
        assert "is damaged" in str(error)
    else:
        assert small.same(read, whole)


def test_checkpoints_of_before_come_back(folder: Path) -> None:
    """Old ones have another fingerprint, and do not know how many lines were logged."""
    import orbax.checkpoint as ocp

    plain = words_of_keys(restore(folder, small.linen_state()))
    place = folder / "checkpoints" / "4" / "default"
    for flipped in (1, 0):
        state = plain.replace(step=plain.step ^ flipped)
        shutil.rmtree(place)
        with ocp.StandardCheckpointer() as checkpointer:
            checkpointer.save(
                place.absolute(), {"state": state, "fingerprint": linear_fingerprint(plain)}
            )
        if flipped:
            refused(folder, "step 4 in .* is damaged .its numbers are not those that were saved")
    assert small.same(small.run(folder=folder, config={"rate": 0.5})[0], small.run()[0])
