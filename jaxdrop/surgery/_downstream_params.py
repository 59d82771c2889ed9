"""Which parameters are downstream of a marked value, read off the program's data flow."""

from collections import defaultdict
from typing import Any, NamedTuple

import jax
from jax.ad_checkpoint import checkpoint_name
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

PREFIX = "jaxdrop.surgery/"


class _Value(NamedTuple):
    """What is known of a value of the program."""

    leaves: frozenset[int] | None  # the variables it is made of; None if the input is in it too
    marks: frozenset[int]  # the marked values it depends on


_CONSTANT = _Value(frozenset(), frozenset())


def mark(tree: Any, number: int) -> Any:
    """Return the arrays unchanged, but marked in the program."""
    return jax.tree.map(lambda a: checkpoint_name(a, f"{PREFIX}{number}"), tree)


def variables_downstream(program: ClosedJaxpr, variables: int) -> dict[int, set[int]]:
    """Return, for each mark, the variables downstream of it, as numbers of the program's arguments.

    A variable is downstream of a mark if some operation has two operands: one that is, or depends
    on, the marked value, and one that is, or is made only of, variables. Adding a residual branch
    does not count: its other side was computed from the input.

    Args:
      program: its first ``variables`` arguments are variables, the others inputs.
      variables: how many.
    """
    found: dict[int, set[int]] = defaultdict(set)
    own = [_Value(frozenset([i]), frozenset()) for i in range(variables)]
    inputs = [_Value(None, frozenset())] * (len(program.jaxpr.invars) - variables)
    _walk(program.jaxpr, own + inputs, found)
    return found


def _walk(jaxpr: Jaxpr, given: list[_Value], found: dict[int, set[int]]) -> list[_Value]:
    known: dict[Any, _Value] = dict(zip(jaxpr.invars, given, strict=True))

    def read(atom: Any) -> _Value:
        return _CONSTANT if isinstance(atom, Literal) else known.get(atom, _CONSTANT)

    for eqn in jaxpr.eqns:
        operands = [read(v) for v in eqn.invars]
        out = _combined(operands)
        outs = [out] * len(eqn.outvars)
        inner = [_inner_program(p) for value in eqn.params.values() for p in _as_sequence(value)]
        bodies = [body for body in inner if body is not None]
        if bodies:
            rounds = 2 if eqn.primitive.name in ("scan", "while") else 1
            outs = _walk_inside(bodies, operands, outs, found, rounds)
        else:
            for number in out.marks:
                for operand in operands:
                    if operand.leaves and not operand.marks:
                        found[number] |= operand.leaves
        name = str(eqn.params.get("name", ""))
        if eqn.primitive.name == "name" and name.startswith(PREFIX):
            number = int(name.removeprefix(PREFIX))
            found[number]  # a mark that meets nothing is found too
            outs = [_Value(None, v.marks | {number}) for v in outs]
        known.update(zip(eqn.outvars, outs, strict=True))
    return [read(v) for v in jaxpr.outvars]


def _walk_inside(
    bodies: list[Jaxpr],
    operands: list[_Value],
    outs: list[_Value],
    found: dict[int, set[int]],
    rounds: int,
) -> list[_Value]:
    """Walk the programs inside an operation; a second round is for what a loop carries on."""
    merged = None
    for _ in range(rounds):
        for body in bodies:
            n = len(body.invars)
            given = operands[-n:] if n <= len(operands) else [_combined(operands)] * n
            results = _walk(body, given, found)
            if len(results) == len(outs):
                merged = results if merged is None else list(map(_of_either, merged, results))
        marks = frozenset[int]().union(*(v.marks for v in merged or outs))
        operands = [v if v.leaves else _Value(v.leaves, v.marks | marks) for v in operands]
    return outs if merged is None else merged


def _combined(values: list[_Value]) -> _Value:
    marks = frozenset().union(*(v.marks for v in values))
    pure = [v.leaves for v in values if v.leaves is not None]
    if len(pure) < len(values) or marks:
        return _Value(None, marks)
    return _Value(frozenset().union(*pure), marks)


def _of_either(a: _Value, b: _Value) -> _Value:
    leaves = None if a.leaves is None or b.leaves is None else a.leaves | b.leaves
    return _Value(leaves, a.marks | b.marks)


def _as_sequence(value: Any) -> Any:
    return value if isinstance(value, (tuple, list)) else (value,)


def _inner_program(value: Any) -> Jaxpr | None:
    if isinstance(value, ClosedJaxpr):
        return value.jaxpr
    return value if isinstance(value, Jaxpr) else None
