"""JSON read as a dataclass: all fields are there and of their type, or a sentence says what is not.

For all that a later call resumes from: run.json, the lines of metrics.jsonl, sweep.json,
result.json, and the configs in them.
"""

import dataclasses
import json
import math
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeVar

T = TypeVar("T")
DEPTH = 100  # of nested lists and objects; Python's own limit depends on the caller


class Unreadable(ValueError):
    """A file is missing, damaged, or does not hold what it should; the text says which and what."""


def read_json(path: Path, kind: type[T]) -> T:
    """Read a JSON file as a dataclass, or as another type that ``as_type`` knows.

    Raises:
      Unreadable: names the file, the field, what was found and what was expected.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Unreadable(f"{path} cannot be read ({error.strerror})") from error
    return parse_json(content, kind, str(path))


def parse_json(content: bytes, kind: type[T], where: str) -> T:
    """Read JSON text as a type.

    Args:
      content: UTF-8, without NaN and Infinity, which JSON does not have.
      kind: as for ``as_type``.
      where: the file, for the sentence.

    Raises:
      Unreadable: if it is something else.

    >>> parse_json(b'{"a": [1, true]}', dict[str, list[int]], "x")
    Traceback (most recent call last):
    jaxdrop.training._typed_json.Unreadable: x is damaged: a[1] is true, expected a whole number
    """
    try:
        value = json.loads(content.decode(), parse_constant=_no_constant, parse_float=_finite)
        deep = _deeper(value, DEPTH)
    except UnicodeDecodeError as error:
        raise Unreadable(f"{where} is damaged: byte {error.start} is not UTF-8") from error
    except RecursionError:
        value, deep = None, True
    except ValueError as error:
        raise Unreadable(f"{where} is damaged: it is not JSON ({error})") from error
    if deep:
        raise Unreadable(f"{where} is damaged: it is nested deeper than {DEPTH} levels")
    return as_type(value, kind, where)


def as_type(value: Any, kind: Any, where: str, field: str = "") -> Any:
    """Return a JSON value as a type, every part of it checked.

    Args:
      value: what ``json.loads`` returned.
      kind: a dataclass, of which all fields must be there and no others; int, float (which also
        takes a whole number), str, bool, None, Any; Literal, unions; lists, tuples, and dicts with
        str keys, of such types.
      where: the file, for the sentence.
      field: the path in the file to this value.

    Raises:
      Unreadable: if the value is not of that type.
    """
    try:
        return _as(value, kind, field)
    except _Odd as odd:
        at, found, expected = odd.args
        raise Unreadable(
            f"{where} is damaged: {at or 'it'} is {_short(found)}, expected {expected}"
        ) from None


class _Odd(Exception):
    """Args: the path to a value, the value, and what was expected in words."""


def _as(value: Any, kind: Any, at: str) -> Any:
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any or kind is object:
        return value
    if origin is typing.Annotated:
        return _as(value, args[0], at)
    if origin is Literal:
        if any(value == arg and type(value) is type(arg) for arg in args):
            return value
        raise _Odd(at, value, _words(kind))
    if origin in (typing.Union, types.UnionType):
        return _as_one_of(value, args, kind, at)
    if dataclasses.is_dataclass(kind):
        return _as_dataclass(value, kind, at)
    if (origin or kind) in (dict, Mapping):
        of = args[1] if args else Any
        _must(isinstance(value, dict), at, value, "an object")
        return {k: _as(v, of, f"{at}.{k}" if at else k) for k, v in value.items()}
    if (origin or kind) in (list, tuple):
        return _as_sequence(value, origin or kind, args, at)
    if kind is float and type(value) is int:
        return _finite(str(value)) if abs(value) < 2**1023 else _odd(at, value, "a number")
    _must(type(value) is (type(None) if kind is None else kind), at, value, _words(kind))
    return value


def _as_dataclass(value: Any, kind: Any, at: str) -> Any:
    _must(isinstance(value, dict), at, value, "an object")
    hints = typing.get_type_hints(kind, include_extras=True)
    names = [field.name for field in dataclasses.fields(kind) if field.init]
    missing = sorted(set(names) - set(value))
    if missing:
        raise _Odd(f"{at}.{missing[0]}" if at else missing[0], _MISSING, _words(hints[missing[0]]))
    unknown = sorted(set(value) - set(names))
    if unknown:
        name = f"{at}.{unknown[0]}" if at else unknown[0]
        raise _Odd(name, value[unknown[0]], f"no fields but {', '.join(names)}")
    return kind(**{k: _as(value[k], hints[k], f"{at}.{k}" if at else k) for k in names})


def _as_one_of(value: Any, kinds: tuple[Any, ...], whole: Any, at: str) -> Any:
    odd = []
    for kind in kinds:
        try:
            return _as(value, kind, at)
        except _Odd as error:
            odd.append(error)
    deeper = [error for error in odd if error.args[0] != at]
    raise deeper[0] if len(deeper) == 1 else _Odd(at, value, _words(whole))


def _as_sequence(value: Any, kind: Any, args: tuple[Any, ...], at: str) -> Any:
    _must(isinstance(value, list), at, value, "a list")
    if kind is tuple and args and args[-1] is not Ellipsis:
        _must(len(value) == len(args), at, value, f"a list of {len(args)}")
        each = args
    else:
        each = (args[0] if args else Any,) * len(value)
    found = [_as(v, of, f"{at}[{i}]") for i, (v, of) in enumerate(zip(value, each, strict=True))]
    return kind(found)


def _must(holds: bool, at: str, value: Any, expected: str) -> None:
    if not holds:
        _odd(at, value, expected)


def _odd(at: str, value: Any, expected: str) -> NoReturn:
    raise _Odd(at, value, expected)


_MISSING = object()
_WORDS = {
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "true or false",
    type(None): "null",
    None: "null",
}


def _words(kind: Any) -> str:
    """Say in words what a type takes."""
    args = typing.get_args(kind)
    if typing.get_origin(kind) is Literal:
        return " or ".join(json.dumps(arg) for arg in args)
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return " or ".join(map(_words, args))
    if typing.get_origin(kind) is typing.Annotated:
        return _words(args[0])
    if (typing.get_origin(kind) or kind) in (list, tuple):
        return "a list"
    return _WORDS.get(kind, "an object" if kind is not Any else "any value")


def _short(value: Any) -> str:
    if value is _MISSING:
        return "missing"
    try:
        text = json.dumps(value)
    except (RecursionError, ValueError):  # nested deeply, or an integer of thousands of digits
        return "a very large value"
    return text if len(text) <= 60 else f"{text[:57]}..."


def _deeper(value: Any, levels: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value
    return isinstance(value, dict | list) and (
        not levels or any(_deeper(item, levels - 1) for item in inner)
    )


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:30]} is no finite number")
    return value
