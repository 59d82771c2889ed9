"""Evaluation: run a traced program equation by equation, and look at its marks and draws."""

from typing import Any

import jax
from jax.extend.core import Literal
from jax.sharding import PartitionSpec

from jaxdrop.surgery._audit_marks import mark_p
from jaxdrop.surgery._audit_sites import TOP, Place, Site, is_draw, site_of
from jaxdrop.training import _program_parts as parts

Records = dict[Site, list[Any]]
"""For each site one array per place in the program, with the calls (of a loop, of vmap, of the
devices in shard_map) along its first axis."""


class Evaluation:
    """Runs a program; subclasses say what happens at a mark and at a draw."""

    def opens(self, program: Any) -> bool:
        """Return whether there is anything to look at in a program inside an equation."""
        raise NotImplementedError

    def mark(self, eqn: Any, values: list[Any]) -> tuple[Any, Records]:
        """Return the result of a mark, and what is recorded."""
        raise NotImplementedError

    def draw(self, eqn: Any, values: list[Any], place: Place) -> tuple[list[Any], Records]:
        """Return the results of an equation that draws, and what is recorded.

        Args:
          eqn: it draws something (``is_draw``), or it is a dropout of no layer (``site_of``).
          values: of its operands.
          place: where it stands.
        """
        raise NotImplementedError

    def run(self, program: Any, args: Any, place: Place = TOP) -> tuple[list[Any], Records]:
        """Return the results of a program, and what was recorded."""
        jaxpr = parts.opened(program)
        records: Records = {}
        env: dict[Any, Any] = dict(parts.constants(program))
        env.update(zip(jaxpr.invars, args, strict=True))
        for eqn in jaxpr.eqns:
            values = [v.val if isinstance(v, Literal) else env[v] for v in eqn.invars]
            outs, found = self._equation(eqn, values, place)
            env.update(zip(eqn.outvars, outs, strict=True))
            _add(records, found)
        return [v.val if isinstance(v, Literal) else env[v] for v in jaxpr.outvars], records

    def _equation(self, eqn: Any, values: list[Any], place: Place) -> tuple[list[Any], Records]:
        place = place.at(eqn)
        if eqn.primitive is mark_p:
            out, records = self.mark(eqn, values)
            return [out], records
        if is_draw(eqn) or site_of(eqn, place) is not None:
            return self.draw(eqn, values, place)
        if any(map(self.opens, parts.parts_of(eqn))):
            name = eqn.primitive.name
            if name in parts.CALLS or name in parts.CUSTOM:
                return self.run(parts.called(eqn), values, place)
            if name == "scan":
                return self._scan(eqn, values, place)
            if name == "cond":
                return self._cond(eqn, values, place)
            if name == "shard_map":
                return self._shard_map(eqn, values, place)
        return parts.bind(
            eqn, values
        ), {}  # a while loop, whose rounds nobody knows, is not looked into

    def _scan(self, eqn: Any, values: list[Any], place: Place) -> tuple[list[Any], Records]:
        consts, carried = parts.scan_sizes(eqn)
        held, start, xs = parts.split_at(values, consts, carried)

        def body(carry: Any, x: Any) -> Any:
            outs, records = self.run(eqn.params["jaxpr"], [*held, *carry, *x], place)
            return outs[:carried], (outs[carried:], records)

        length, reverse = eqn.params["length"], eqn.params["reverse"]
        end, (ys, records) = jax.lax.scan(body, start, xs, length=length, reverse=reverse)
        return [*end, *ys], jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), records)

    def _cond(self, eqn: Any, values: list[Any], place: Place) -> tuple[list[Any], Records]:
        """Run every branch, since a record must be there whichever is taken."""
        index, *operands = values
        ran = [self.run(branch, operands, place) for branch in eqn.params["branches"]]
        records: Records = {}
        for _, found in ran:
            _add(records, found)
        chosen = zip(*(outs for outs, _ in ran), strict=True)
        return [jax.lax.select_n(index, *outs) for outs in chosen], records

    def _shard_map(self, eqn: Any, values: list[Any], place: Place) -> tuple[list[Any], Records]:
        params = eqn.params
        axes = tuple(sorted(params["newly_manual_axes"]))

        def body(*shards: Any) -> Any:
            outs, records = self.run(params["jaxpr"], shards, place)
            return tuple(outs), records

        outs, records = jax.shard_map(
            body,
            mesh=params["mesh"],
            in_specs=tuple(params["in_specs"]),
            out_specs=(tuple(params["out_specs"]), PartitionSpec(axes)),
            axis_names=set(axes),
            check_vma=False,
        )(*values)
        return list(outs), records


def _add(records: Records, found: Records) -> None:
    for site, arrays in found.items():
        records.setdefault(site, []).extend(arrays)
