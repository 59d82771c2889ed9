"""recorded: run a traced program and return, beside its results, what each of its dropouts did.

Every dropout is given ones: what it returns is then its mask, whatever came before it, also behind
a ReLU, which makes zeros of its own.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Literal
from jax.sharding import PartitionSpec

from jaxdrop._core.bits import _bits_p
from jaxdrop._core.masked_scale import _drop_p
from jaxdrop.surgery._audit_marks import lanes_of, mark_p
from jaxdrop.surgery._audit_sites import Site, has_sites, is_draw, layer, layer_around, site_of
from jaxdrop.training import _program_parts as parts

Records = dict[Site, list[Any]]
"""For each site one array per place in the program, with the calls (of a loop, of vmap, of the
devices in shard_map) along its first axis."""


def keys_of(site: Site) -> Site:
    """Return the name under which the keys of a site are recorded, [calls, words]."""
    return Site(f"keys of {site.kind}", site.place)


def recorded(program: Any) -> Callable[..., tuple[list[Any], Records]]:
    """Return a function of the program's arguments that returns its results and the records."""
    return lambda *args: _run(program, args, None)


def _run(program: Any, args: Any, around: Site | None) -> tuple[list[Any], Records]:
    """Run a program; ``around`` is the layer that runs it."""
    jaxpr = parts.opened(program)
    records: Records = {}
    env: dict[Any, Any] = dict(parts.constants(program))
    env.update(zip(jaxpr.invars, args, strict=True))
    for eqn in jaxpr.eqns:
        values = [v.val if isinstance(v, Literal) else env[v] for v in eqn.invars]
        outs, found = _equation(eqn, values, around)
        env.update(zip(eqn.outvars, outs, strict=True))
        _add(records, found)
    return [v.val if isinstance(v, Literal) else env[v] for v in jaxpr.outvars], records


def _add(records: Records, found: Records) -> None:
    for site, arrays in found.items():
        records.setdefault(site, []).extend(arrays)


def _equation(eqn: Any, values: list[Any], around: Site | None) -> tuple[list[Any], Records]:
    number = layer_around(eqn)
    around = around if number is None else layer(number)
    if eqn.primitive is mark_p:
        return _mark(eqn, values)
    site = site_of(eqn) if around is None else None
    if site is not None:
        if eqn.primitive is _drop_p:
            values = [jnp.ones_like(values[0]), *values[1:]]
        outs = _bind(eqn, values)
        return outs, {site: [outs[0][None]], keys_of(site): [_key(eqn, values)]}
    if is_draw(eqn) and around is not None:
        return _bind(eqn, values), {keys_of(around): [_key(eqn, values)]}
    inner = parts.parts_of(eqn)
    if any(map(has_sites, inner)):
        name = eqn.primitive.name
        if name in parts.CALLS or name in parts.CUSTOM:
            return _run(parts.called(eqn), values, around)
        if name == "scan":
            return _scan(eqn, values, around)
        if name == "cond":
            return _cond(eqn, values, around)
        if name == "shard_map":
            return _shard_map(eqn, values, around)
    return _bind(eqn, values), {}  # a while loop, whose rounds nobody knows, is not looked into


def _bind(eqn: Any, values: list[Any]) -> list[Any]:
    outs = eqn.primitive.bind(*values, **eqn.primitive.get_bind_params(eqn.params))
    return list(outs) if eqn.primitive.multiple_results else [outs]


def _mark(eqn: Any, values: list[Any]) -> tuple[list[Any], Records]:
    x, *seen = values
    place, number = eqn.params["place"], eqn.params["number"]
    if place == "in" and jnp.issubdtype(x.dtype, jnp.inexact):
        return [jnp.ones_like(x)], {}
    if place != "out":
        return [x], {}
    array = seen[0] if seen else x
    return [x], {layer(number): [array.reshape(-1, *array.shape[lanes_of(eqn) :])]}


def _key(eqn: Any, values: list[Any]) -> jax.Array:
    """Return what a draw depends on, [calls, words]: its key, and where in the mask it begins."""
    if eqn.primitive not in (_drop_p, _bits_p):
        data = values[0]
        if jnp.issubdtype(data.dtype, jax.dtypes.prng_key):
            data = jax.random.key_data(data)
        return data.reshape(-1, data.shape[-1])
    words, *base = values
    if eqn.primitive is _drop_p:
        words, *leaves = base
        base = jax.tree.leaves(jax.tree.unflatten(eqn.params["form"].tree, leaves)[0])
    words = words.reshape(-1, words.shape[-1])
    first = [jnp.full((len(words), 1), n, words.dtype) for n in base if jnp.ndim(n) == 0]
    return jnp.concatenate([words, *first], 1)


def _scan(eqn: Any, values: list[Any], around: Site | None) -> tuple[list[Any], Records]:
    consts, carried = parts.scan_sizes(eqn)
    held, start, xs = parts.split_at(values, consts, carried)

    def body(carry: Any, x: Any) -> Any:
        outs, records = _run(eqn.params["jaxpr"], [*held, *carry, *x], around)
        return outs[:carried], (outs[carried:], records)

    length, reverse = eqn.params["length"], eqn.params["reverse"]
    end, (ys, records) = jax.lax.scan(body, start, xs, length=length, reverse=reverse)
    return [*end, *ys], jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), records)


def _cond(eqn: Any, values: list[Any], around: Site | None) -> tuple[list[Any], Records]:
    """Run every branch, since a record must be there whichever is taken."""
    index, *operands = values
    ran = [_run(branch, operands, around) for branch in eqn.params["branches"]]
    records: Records = {}
    for _, found in ran:
        _add(records, found)
    chosen = zip(*(outs for outs, _ in ran), strict=True)
    return [jax.lax.select_n(index, *outs) for outs in chosen], records


def _shard_map(eqn: Any, values: list[Any], around: Site | None) -> tuple[list[Any], Records]:
    params = eqn.params
    axes = tuple(sorted(params["newly_manual_axes"]))

    def body(*shards: Any) -> Any:
        outs, records = _run(params["jaxpr"], shards, around)
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
