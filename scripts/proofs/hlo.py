"""Read compiled HLO: what is kept in memory, what is fused, what is sent between devices."""

import math
import re
from typing import NamedTuple

_COLLECTIVE = re.compile(
    r"\b(all-reduce|all-gather|all-to-all|ragged-all-to-all|collective-permute|"
    r"collective-broadcast|reduce-scatter|send|recv)(?:-start)?\("
)
_HEADER = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
_INSTRUCTION = re.compile(r"^\s*(?:ROOT )?%?([\w.\-]+) = (.*)$")
_ARRAY = re.compile(r"\b([a-z]+\d*)\[([\d,]*)\]")
# Instructions whose result is a view of what others produced.
_VIEWS = {"parameter", "get-tuple-element", "tuple", "while", "bitcast", "call", "conditional"}
# Besides them, what starts nothing on a device, or is the end of what was started.
_STARTS_NOTHING = _VIEWS | {"constant", "after-all", "partition-id", "replica-id"}
_MASK_DTYPES = {"pred", "s8", "u8", "s16", "u16", "s32", "u32", "s64", "u64"}


class Instruction(NamedTuple):
    """One instruction outside of any fusion: its result lies in memory."""

    name: str
    op: str
    arrays: tuple[tuple[str, int], ...]  # (dtype, number of elements) of the result
    text: str


def sent(text: str) -> list[str]:
    """Name each communication between devices in the program."""
    return _COLLECTIVE.findall(text)


def collectives(text: str) -> list[str]:
    """Name the communication between devices that occurs in the program, each kind once."""
    return sorted(set(sent(text)))


def instructions(text: str) -> list[Instruction]:
    """List what runs on its own, that is outside of fusions and of reducers."""
    inner = set(re.findall(r"\b(?:calls|to_apply)=%?([\w.\-]+)", text))
    # A CPU program calls its parallel loops, whose fusions count.
    inner -= set(re.findall(r" call\(.*?to_apply=%?([\w.\-]+)", text))
    found, skip = [], True
    for line in text.splitlines():
        header = _HEADER.match(line)
        if header:
            skip = header[2] in inner
            continue
        match = _INSTRUCTION.match(line)
        if skip or not match:
            continue
        kind, op, _ = _split(match[2])
        arrays = tuple(
            (dtype, math.prod(int(n) for n in dims.split(",") if n))
            for dtype, dims in _ARRAY.findall(kind)
        )
        found.append(Instruction(match[1], op, arrays, line.strip()))
    return found


def mask_buffers(text: str, elements: int) -> list[str]:
    """List the boolean and integer arrays of that many elements or more that are written."""
    return [
        i.text[:200]
        for i in instructions(text)
        if i.op not in _VIEWS and any(d in _MASK_DTYPES and n >= elements for d, n in i.arrays)
    ]


def pass_names(text: str, elements: int) -> list[str]:
    """Name the instructions that write an array of that many elements or more."""
    return [
        i.name
        for i in instructions(text)
        if i.op not in _VIEWS and any(n >= elements for _, n in i.arrays)
    ]


def fusions(text: str) -> int:
    """Count the fusions that are started."""
    return sum(i.op == "fusion" for i in instructions(text))


def launches(text: str) -> int:
    """Count what is started: fusions and whatever else runs on its own, in a loop's body once."""
    ops = [i.op for i in instructions(text)]
    return sum(op not in _STARTS_NOTHING and not op.endswith("-done") for op in ops)


def _split(rest: str) -> tuple[str, str, str]:
    """Split "TYPE op(arguments" where TYPE may be a tuple in parentheses."""
    depth = 0
    for at, c in enumerate(rest):
        depth += (c in "([{") - (c in ")]}")
        if c == " " and depth == 0:
            op, _, arguments = rest[at + 1 :].partition("(")
            return rest[:at], op, arguments
    return rest, "", ""
