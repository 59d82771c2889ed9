"""Every call of fit compiles its step anew; in these tests they are the same few programs.

And the folder of a run that was saved, which many of them do something to.
"""

import gc
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache

from tests.training import small_run as small
from tests.training.saved_run import BREAKS_ORBAX

OPTIONS = {
    "jax_persistent_cache_min_compile_time_secs": 0.0,
    "jax_persistent_cache_min_entry_size_bytes": -1,
}


@contextmanager
def compiled_in(folder: Path) -> Iterator[None]:
    """Keep compiled programs in a folder, for whoever compiles the same one again."""
    options = {"jax_compilation_cache_dir": str(folder), **OPTIONS}
    before = {name: getattr(jax.config, name) for name in options}
    for name, value in options.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()
    yield
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


@pytest.fixture(scope="package", autouse=True)
def compile_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with compiled_in(tmp_path_factory.mktemp("compiled")):
        yield


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
