"""IDX files and the folder they are looked for in: read under every name, refused in a sentence."""

import doctest
import gzip
import hashlib
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tyro", reason="experiments need the extra jaxdrop[experiments]")
from experiments._data import idx, image_sets, images  # noqa: E402
from experiments._harness.result import CannotRun  # noqa: E402

ARRAY = np.arange(60, dtype=np.uint8).reshape(3, 4, 5)
RAW = idx.idx_bytes(ARRAY)
WHOLE = idx.Content(hashlib.md5(RAW).hexdigest(), len(RAW))
NAME = "train-images-idx3-ubyte"


def test_the_examples_run() -> None:
    result = doctest.testmod(idx, extraglobs={"np": np})
    assert result.attempted and not result.failed


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", [NAME, "train-images.idx3-ubyte"])
def test_a_file_is_read_under_all_its_names(packed: bool, name: str, tmp_path: Path) -> None:
    content = gzip.compress(RAW) if packed else RAW
    (tmp_path / (name + ".gz" * packed)).write_bytes(content)
    found = idx.read_idx(tmp_path, NAME, WHOLE, "fetch")
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, ARRAY)


@pytest.mark.parametrize(
    "name, content, sentence",
    [
        (NAME, RAW[:-7], r"truncated: 69 bytes of 76\).*; remove it, then type: fetch"),
        (NAME, RAW + b"x", r"an array of shape 3x4x5\): md5"),
        (NAME, b"hello, I am no image", "20 bytes without an IDX header"),
        (NAME, b"", "0 bytes without an IDX header"),
        (NAME + ".gz", gzip.compress(RAW)[:-9], "cannot be read: .*; remove it, then type: fetch"),
        (NAME + ".gz", RAW, "cannot be read: Not a gzipped file"),
        ("other", RAW, r"has no train-images-idx3-ubyte \(raw or .gz\); to get it, type: fetch"),
    ],
    # Without names the bytes would be the names, and gzip's bytes hold the second they were made.
    ids=["short", "long", "text", "empty", "short gz", "raw as gz", "missing"],
)
def test_what_cannot_be_read_is_told_with_the_way_out(
    name: str, content: bytes, sentence: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CannotRun, match=sentence):
        idx.read_idx(tmp_path, NAME, WHOLE, "fetch")


@pytest.mark.parametrize("packed", [False, True])
def test_no_more_is_read_than_there_should_be(packed: bool, tmp_path: Path) -> None:
    endless = RAW + bytes(10_000_000)
    name, content = (NAME + ".gz", gzip.compress(endless)) if packed else (NAME, endless)
    (tmp_path / name).write_bytes(content)
    assert len(idx.read_bytes(tmp_path, NAME, len(RAW), "fetch")) == len(RAW) + 1
    with pytest.raises(CannotRun, match="is damaged or another file"):
        idx.read_idx(tmp_path, NAME, WHOLE, "fetch")


def test_the_folder_is_the_chosen_one_then_the_variable_then_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("JAXDROP_DATA", raising=False)
    assert image_sets.data_folder() == tmp_path / "cache" / "jaxdrop"
    monkeypatch.setenv("JAXDROP_DATA", str(tmp_path / "data"))
    assert image_sets.data_folder() == tmp_path / "data"
    assert image_sets.data_folder("x") == Path("x")
    with pytest.raises(CannotRun, match=r"MNIST was looked for in .*data, and there is no such"):
        images.load("mnist")


@pytest.mark.parametrize("name", ["mnist", "fashion", "cifar10"])
def test_a_data_set_that_is_not_there_is_told_with_the_command(name: str, tmp_path: Path) -> None:
    where = str(tmp_path)
    with pytest.raises(CannotRun, match=f"type: scripts/run fetch {name} --data-dir {where}"):
        images.load(name, where)  # type: ignore[arg-type]
