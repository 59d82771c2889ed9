"""JSON as a dataclass: what is taken, and a sentence with file, field, found and expected."""

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest

from jaxdrop.training._typed_json import Unreadable, as_type, parse_json, read_json


@dataclasses.dataclass(frozen=True)
class Inner:
    rate: float
    hidden: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True)
class Outer:
    seed: int
    name: str | None
    way: Literal["vmap", "map"]
    inner: Inner
    pair: tuple[int, str]
    values: dict[str, float | None]
    flag: Annotated[bool, "any"] = False
    more: Any = None


GOOD: dict[str, Any] = {
    "seed": 3, "name": None, "way": "map", "inner": {"rate": 1, "hidden": [1, 2]},
    "pair": [1, "x"], "values": {"a": 1.5, "b": None}, "flag": True, "more": {"z": [1, "y"]},
}  # fmt: skip


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps(GOOD), encoding="utf-8")
    inner = Inner(1.0, (1, 2))
    expected = Outer(3, None, "map", inner, (1, "x"), {"a": 1.5, "b": None}, True, GOOD["more"])
    got = read_json(path, Outer)
    assert got == expected and type(got.inner.rate) is float
    assert parse_json(json.dumps(dataclasses.asdict(got)).encode(), Outer, "x") == got


@pytest.mark.parametrize(
    "change, sentence",
    [
        ({"seed": "3"}, 'seed is "3", expected a whole number'),
        ({"seed": 3.0}, "seed is 3.0, expected a whole number"),
        ({"seed": True}, "seed is true, expected a whole number"),
        ({"seed": None}, "seed is null, expected a whole number"),
        ({"name": 1}, "name is 1, expected text or null"),
        ({"way": "loop"}, 'way is "loop", expected "vmap" or "map"'),
        ({"inner": []}, "inner is [], expected an object"),
        ({"inner": {"hidden": []}}, "inner.rate is missing, expected a number"),
        ({"inner": {"rate": "a", "hidden": []}}, 'inner.rate is "a", expected a number'),
        ({"inner": {"rate": 10**400, "hidden": []}}, "inner.rate is 1000"),
        ({"inner": {"rate": 0, "hidden": [1, "2"]}}, 'inner.hidden[1] is "2", expected a whole'),
        ({"inner": {"rate": 0, "hidden": {}}}, "inner.hidden is {}, expected a list"),
        ({"pair": [1]}, "pair is [1], expected a list of 2"),
        ({"values": {"a": "x"}}, 'values.a is "x", expected a number or null'),
        ({"flag": 1}, "flag is 1, expected true or false"),
        ({"new": 1}, "new is 1, expected no fields but seed, name, way, inner"),
        ({"name": 1, "more": "x" * 99}, "name is 1"),
        ({"seed": "x" * 99}, 'xxx..., expected a whole number'),
    ],
)  # fmt: skip
def test_a_field_of_another_type_is_named(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(Unreadable) as error:
        parse_json(json.dumps(GOOD | change).encode(), Outer, "the.json")
    assert str(error.value).startswith("the.json is damaged: ")
    assert sentence in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("name", GOOD)
def test_every_field_has_to_be_there(name: str) -> None:
    some = {k: v for k, v in GOOD.items() if k != name}
    with pytest.raises(Unreadable, match=f"damaged: {name} is missing, expected "):
        parse_json(json.dumps(some).encode(), Outer, "the.json")


@pytest.mark.parametrize(
    "content, sentence",
    [
        (b"", "it is not JSON"),
        (b'{"seed": 3', "it is not JSON"),
        (b"[]", r"it is \[\], expected an object"),
        (b"null", "it is null, expected an object"),
        (b'{"seed": NaN}', r"it is not JSON \(NaN is no number of JSON\)"),
        (b"[-Infinity]", "-Infinity is no number of JSON"),
        (b"[1e999]", "1e999 is no finite number"),
        (b'{"a": "\xff"}', "byte 7 is not UTF-8"),
        (b'{"a": "x\0"}', "it is not JSON"),
        (b"\xef\xbb\xbf{}", "it is not JSON"),
        (b"[" * 101 + b"]" * 101, "nested deeper than 100 levels"),
        (b"[" * 100_000, "nested deeper than 100 levels"),
        (b"1" * 10_000, "it is not JSON"),
    ],
)
def test_what_is_no_json_is_an_error(content: bytes, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(Unreadable, match=sentence) as error:
        read_json(path, Outer)
    assert str(path) in str(error.value)


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match=r"none.json cannot be read \(No such file"):
        read_json(tmp_path / "none.json", Outer)
    with pytest.raises(Unreadable, match=r"cannot be read \(Is a directory"):
        read_json(tmp_path, Outer)


def test_a_union_names_what_is_wrong_inside() -> None:
    with pytest.raises(Unreadable, match='x is damaged: rate is "a", expected a number'):
        as_type({"rate": "a", "hidden": []}, Inner | None, "x")
