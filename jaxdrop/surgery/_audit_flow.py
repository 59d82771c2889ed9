"""flow_of: what the data flow of a traced program says of its dropouts."""

import dataclasses
from typing import Any, NamedTuple

from jax.extend.core import ClosedJaxpr, Literal
from jax.interpreters import partial_eval

from jaxdrop._core.masked_scale import _drop_p
from jaxdrop.surgery._audit_marks import lanes_of, mark_p
from jaxdrop.surgery._audit_sites import TOP, Place, Site, is_draw, layer, site_of
from jaxdrop.training import _program_parts as parts

_MOVES = {
    *("reshape", "convert_element_type", "broadcast_in_dim", "squeeze", "expand_dims", "transpose"),
    *("copy", "reduce_precision", "sharding_constraint", "reshard", "pvary", "pcast", "name"),
}
"""Operations after which an element is still what it was."""
_ENTERED = {"scan", "while", "cond", "shard_map", "custom_vmap_call", *parts.CALLS, *parts.CUSTOM}
"""Operations whose programs take their last operands; those of a scatter or a kernel do not."""


@dataclasses.dataclass
class Flow:
    """What is known of the dropouts of a program; each attribute is a set of sites."""

    met: set[Site] = dataclasses.field(default_factory=set)
    """Those whose result is part of what the program returns."""
    live: set[Site] = dataclasses.field(default_factory=set)
    """Those whose result depends on something drawn there."""
    before_norm: set[Site] = dataclasses.field(default_factory=set)
    """Those from which a batch norm's input follows."""
    undone: set[Site] = dataclasses.field(default_factory=set)
    """Those whose input is added to their result."""
    repeated: dict[Site, set[str]] = dataclasses.field(default_factory=dict)
    """What repeats the part of the program they are in: scan, shard_map, vmap."""


class _Value(NamedTuple):
    after: frozenset[Site]  # the dropouts from which it follows
    drawn: bool  # whether it depends on something drawn since the last dropout began
    root: Any  # equal for values whose elements are the same, maybe moved


def flow_of(program: Any) -> Flow:
    """Read off a program where its dropouts stand.

    Args:
      program: a jaxpr, without what is computed and not used (``without_dead_code``).
    """
    flow = Flow()
    walk = _Walk(flow)
    jaxpr = parts.opened(program)
    walk.run(program, [_Value(frozenset(), False, object()) for _ in jaxpr.invars], TOP, set())
    return flow


def without_dead_code(program: Any) -> Any:
    """Return a closed jaxpr without what does not reach its results."""
    jaxpr = parts.opened(program)
    used = [True] * len(jaxpr.outvars)
    needed = partial_eval.dce_jaxpr_consts(jaxpr, used, instantiate=True)[0]
    return needed if hasattr(needed, "consts") else ClosedJaxpr(needed, program.consts)


class _Walk:
    def __init__(self, flow: Flow):
        self.flow = flow
        self.begun: dict[int, Any] = {}  # by the number of a layer, the root of its input

    def run(
        self, program: Any, given: list[_Value], place: Place, around: set[str]
    ) -> list[_Value]:
        jaxpr = parts.opened(program)
        known: dict[Any, _Value] = dict(zip(jaxpr.invars, given, strict=True))
        for eqn in jaxpr.eqns:
            operands = [self._read(known, v) for v in eqn.invars]
            outs = self._equation(eqn, operands, place.at(eqn), around)
            known.update(zip(eqn.outvars, outs, strict=True))
        return [self._read(known, v) for v in jaxpr.outvars]

    @staticmethod
    def _read(known: dict[Any, _Value], v: Any) -> _Value:
        if isinstance(v, Literal) or v not in known:
            return _Value(frozenset(), False, object())
        return known[v]

    def _equation(
        self, eqn: Any, operands: list[_Value], place: Place, around: set[str]
    ) -> list[_Value]:
        after = frozenset[Site]().union(*(v.after for v in operands))
        drawn = any(v.drawn for v in operands) or is_draw(eqn) or parts.draws_in_kernel(eqn)
        site = site_of(eqn, place)
        if eqn.primitive is mark_p:
            return [self._mark(eqn, operands, around)]
        if site is not None:
            source = operands[0].root if eqn.primitive is _drop_p else object()
            return [self._result(site, after, True, source, around) for _ in eqn.outvars]
        name = eqn.primitive.name
        bodies = parts.parts_of(eqn)
        if bodies and name in _ENTERED:
            return self._inside(eqn, bodies, operands, place, around | {name})
        if name in ("add", "add_any"):
            self._added(*operands)
        arrays = [i for i, v in enumerate(eqn.invars) if not isinstance(v, Literal)]
        same = name in _MOVES or name in ("mul", "div") and len(arrays) == 1
        root = operands[arrays[0]].root if same and arrays else object()
        return [_Value(after, drawn, root) for _ in eqn.outvars]

    def _mark(self, eqn: Any, operands: list[_Value], around: set[str]) -> _Value:
        value, number = operands[0], eqn.params["number"]
        if eqn.params["place"] == "norm":
            self.flow.before_norm |= value.after
            return value
        if eqn.params["place"] == "in":
            self.begun.setdefault(number, value.root)  # the first of several arguments
            return value._replace(drawn=False)
        if lanes_of(eqn):
            around = around | {"vmap"}
        drawn = any(v.drawn for v in (operands[1:] or operands))
        after = frozenset[Site]().union(*(v.after for v in operands))
        return self._result(layer(number), after, drawn, self.begun.pop(number, None), around)

    def _result(
        self, site: Site, after: frozenset[Site], drawn: bool, source: Any, around: set[str]
    ) -> _Value:
        self.flow.met.add(site)
        if drawn:
            self.flow.live.add(site)
        self.flow.repeated.setdefault(site, set()).update(around)
        return _Value(after | {site}, drawn, _Dropped(site, source))

    def _added(self, a: _Value, b: _Value) -> None:
        for one, other in ((a, b), (b, a)):
            root = one.root
            while isinstance(root, _Dropped):
                if other.root is root.source:
                    self.flow.undone.add(root.site)
                root = root.source

    def _inside(
        self, eqn: Any, bodies: list[Any], operands: list[_Value], place: Place, around: set[str]
    ) -> list[_Value]:
        """Walk the programs inside an operation; a second round is for what a loop carries on."""
        loop = eqn.primitive.name in ("scan", "while")
        outs: list[_Value] | None = None
        for _ in range(2 if loop else 1):
            for body in bodies:
                count = len(parts.opened(body).invars)
                given = operands[len(operands) - count :]
                results = self.run(body, given, place, around)
                if len(results) == len(eqn.outvars):
                    outs = results if outs is None else [*map(_either, outs, results)]
            if eqn.primitive.name == "cond":  # what is chosen depends on the choice
                outs = [_either(v, operands[0]) for v in outs or ()]
            if loop and outs is not None:
                after = frozenset[Site]().union(*(v.after for v in outs))
                operands = [_Value(v.after | after, v.drawn, object()) for v in operands]
        if outs is None:
            after = frozenset[Site]().union(*(v.after for v in operands))
            outs = [_Value(after, any(v.drawn for v in operands), object())] * len(eqn.outvars)
        return outs


class _Dropped(NamedTuple):
    """The root of a dropout's result."""

    site: Site
    source: Any  # the root of its input


def _either(a: _Value, b: _Value) -> _Value:
    root = a.root if a.root is b.root else object()
    return _Value(a.after | b.after, a.drawn or b.drawn, root)
