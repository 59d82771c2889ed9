"""A run that was saved, and what the tests of its folder ask of it."""

from pathlib import Path
from typing import Any

import pytest

import jaxdrop.training as jt
from tests.training import small_run as small

# Orbax leaves coroutines behind when it fails, as it is made to here; they are collected at once.
BREAKS_ORBAX = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def refused(folder: Path, sentence: str, **options: Any) -> str:
    """Check that a call is refused with a sentence and changes nothing; return the sentence."""
    before = small.contents(folder)
    with pytest.raises(jt.CheckpointError, match=sentence) as error:
        small.run(folder=folder, **({"config": {"rate": 0.5}} | options))
    assert small.contents(folder) == before
    return str(error.value)


def restore(folder: Path, like: Any) -> Any:
    from jaxdrop.training._checkpoints import Checkpoints

    checkpoints = Checkpoints(folder, 3)
    try:
        state, record = checkpoints.restore(4, like)
        assert record is None or record[0] == 5  # lines: four steps and an evaluation
        return state
    finally:
        checkpoints.close()
