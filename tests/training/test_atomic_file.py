"""A file is replaced as a whole or not at all, and nothing is left beside it."""

from pathlib import Path

import pytest

from jaxdrop.training._atomic_file import replacing, write_atomically


def test_a_file_takes_the_place_of_another_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "numbers"
    (tmp_path / ".numbers.partial").write_text("what a kill left, longer than what is new")
    write_atomically(path, b"old")
    with replacing(path) as partial:
        partial.write_bytes(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_what_fails_half_way_changes_nothing(error: BaseException, tmp_path: Path) -> None:
    path = tmp_path / "numbers"
    path.write_bytes(b"old")
    with pytest.raises(type(error)), replacing(path) as partial:
        partial.write_bytes(b"half")
        raise error
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_a_body_that_writes_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "numbers"):
        pass
    assert list(tmp_path.iterdir()) == []
