"""The folder of a run that was saved, which many tests do something to."""

import gc
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.training import small_run as small
from tests.training.saved_run import BREAKS_ORBAX


@pytest.fixture(autouse=True)
def collect_garbage(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if BREAKS_ORBAX.mark in request.node.own_markers:
        gc.collect()


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run with two checkpoints, of steps 3 and 4."""
    folder = tmp_path_factory.mktemp("saved") / "run"
    small.run(folder=folder, epochs=1, config={"rate": 0.5})
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "copy"))
