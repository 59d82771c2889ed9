"""Plan: what mc_predict and mc_moments compile for, and how samples go to chunks and devices."""

import math
import warnings
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import nnx
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxdrop._core.checks import check_count, check_switch
from jaxdrop._core.key import check_key, typed
from jaxdrop.mc._ensemble import member_count, member_of
from jaxdrop.mc._sampler import sampler
from jaxdrop.surgery._interceptors import interceptors_cache_key


class Plan(NamedTuple):
    """All that is static: what the program is compiled for."""

    num_samples: int
    chunk_size: int
    share_masks: bool
    sharding: NamedSharding | None
    interceptors: Hashable = ()  # of Linen, active around the call: they are traced along


def make_plan(
    apply_fn: Any,
    key: Any,
    num_samples: int,
    chunk_size: int | None,
    share_masks: bool,
    sharding: NamedSharding | None,
    caller: str,
) -> tuple[Any, jax.Array, Plan]:
    """Check the arguments; return the function as a tree of arrays, the key, and the plan."""
    key = typed(check_key(key, caller))
    total = check_count(num_samples, "num_samples", f"the number of samples that {caller} draws")
    chunk = total
    if chunk_size is not None:
        chunk = min(total, check_count(chunk_size, "chunk_size", "samples computed at a time"))
    if sharding is not None:
        devices = _shards(sharding)
        if total % devices:
            raise ValueError(
                f"got {num_samples=}, which {devices} devices do not share evenly; draw "
                f"{total // devices * devices + devices}"
            )
    if isinstance(apply_fn, nnx.Module | nn.Module):
        apply_fn = sampler(apply_fn)
    elif not callable(apply_fn):
        raise TypeError(
            f"got apply_fn of type {type(apply_fn).__name__}, expected a function (key, x) -> y, "
            "an NNX model or a bound Linen model"
        )
    if not isinstance(apply_fn, jax.tree_util.Partial):
        apply_fn = jax.tree_util.Partial(apply_fn)
    members = member_count(apply_fn)
    if total % members:
        raise ValueError(
            f"got {num_samples=}, which the {members} members of an ensemble do not share evenly; "
            f"draw {total // members * members + members}"
        )
    share = check_switch(share_masks, "share_masks")
    return apply_fn, key, Plan(total, chunk, share, sharding, interceptors_cache_key())


class Chunks(NamedTuple):
    """A range of samples, divided into chunks; what is called with a number computes them."""

    chunk: Callable[[jax.Array], Any]
    """``chunk(i)``: the samples of whole chunk i, along the first axis."""
    whole: int
    """How many whole chunks there are."""
    rest: Callable[[], Any] | None
    """``rest()``: the samples that are left over; None if none are."""


def over_devices(
    reduce: Callable[[Chunks], Any], plan: Plan, apply_fn: Any, key: jax.Array, x: Any
) -> Any:
    """Call ``reduce(chunks)`` with the range of all samples, on each device with its part of it.

    Returns:
      What reduce returns; across devices it is put together along the first axis.
    """

    def work(apply_fn: Any, key: jax.Array, x: Any, first: jax.Array, count: int) -> Any:
        sample = _trace_sample(apply_fn, key, x, plan.share_masks)
        return reduce(_in_chunks(sample, first, count, plan.chunk_size))

    if plan.sharding is None:
        return work(apply_fn, key, x, jnp.zeros((), jnp.uint32), plan.num_samples)
    count = plan.num_samples // _shards(plan.sharding)
    names = _axis_names(plan.sharding)

    def mine(apply_fn: Any, key: jax.Array, x: Any) -> Any:
        first = jax.lax.axis_index(names).astype(jnp.uint32) * np.uint32(count)
        return work(apply_fn, key, x, first, count)

    return jax.shard_map(
        mine,
        mesh=plan.sharding.mesh,
        in_specs=PartitionSpec(),
        out_specs=PartitionSpec(plan.sharding.spec[0]),
        axis_names=set(names),
        check_vma=False,
    )(*unsharded(plan, (apply_fn, key, x)))


def _trace_sample(apply_fn: Any, key: jax.Array, x: Any, share_masks: bool) -> Callable[[Any], Any]:
    """Trace the function once; return ``sample(t)``."""

    def sample(apply_fn: Any, key: jax.Array, x: Any, t: jax.Array) -> Any:
        apply_fn, key = member_of(apply_fn, t), jax.random.fold_in(key, t)
        if not share_masks:
            return apply_fn(key, x)
        rows = jax.tree.map(lambda a: jnp.expand_dims(a, 1), x)
        y = jax.vmap(lambda row: apply_fn(key, row))(rows)
        return jax.tree.map(lambda a: jnp.squeeze(a, 1), y)

    t = jnp.zeros((), jnp.uint32)
    program, shape = jax.make_jaxpr(sample, return_shape=True)(apply_fn, key, x, t)
    if not _reaches_output(program.jaxpr, program.jaxpr.invars[-1]):
        warnings.warn(
            "nothing that apply_fn returns depends on the key, so that every sample is the same: "
            "the model calls no dropout of a rate between 0 and 1, or its dropouts have keys of "
            "their own; jaxdrop.mc.sampler turns on those that a Flax model calls, and "
            "jaxdrop.surgery.insert adds some",
            stacklevel=2,
        )
    run = jax.extend.core.jaxpr_as_fun(program)
    given = jax.tree.leaves((apply_fn, key, x))
    tree = jax.tree.structure(shape)
    return lambda t: jax.tree.unflatten(tree, run(*given, t))


def unsharded(plan: Plan, tree: Any) -> Any:
    """Undo, on an explicit mesh, what is sharded along the samples' axes."""
    if plan.sharding is None:
        return tree
    names, mesh = set(_axis_names(plan.sharding)), plan.sharding.mesh

    def whole(array: Any) -> Any:
        here = jax.typeof(array).sharding
        spec = PartitionSpec(*(_without(names, entry) for entry in here.spec))
        if AxisType.Explicit not in here.mesh.axis_types or spec == here.spec:
            return array
        return jax.sharding.reshard(array, NamedSharding(mesh, spec))

    return jax.tree.map(whole, tree)


def _without(names: set[str], entry: Any) -> Any:
    if not isinstance(entry, tuple):
        return None if entry in names else entry
    return tuple(name for name in entry if name not in names) or None


def _in_chunks(
    sample: Callable[[jax.Array], Any], first: jax.Array, count: int, chunk_size: int
) -> Chunks:
    size = min(chunk_size, count)
    whole, left = divmod(count, size)

    def some(start: jax.Array, length: int) -> Any:
        return jax.vmap(sample)(start + jax.lax.iota(jnp.uint32, length))

    def rest() -> Any:
        return some(first + np.uint32(whole * size), left)

    return Chunks(lambda i: some(first + i * np.uint32(size), size), whole, rest if left else None)


def _axis_names(sharding: NamedSharding) -> tuple[str, ...]:
    axis = sharding.spec[0]
    return axis if isinstance(axis, tuple) else (axis,)


def _shards(sharding: Any) -> int:
    """Return how many devices share the samples, or raise if the sharding is not one of samples."""
    if not isinstance(sharding, NamedSharding):
        raise TypeError(
            f"got sharding={sharding!r:.60} of type {type(sharding).__name__}, expected a "
            "NamedSharding, for example NamedSharding(mesh, PartitionSpec('samples'))"
        )
    axis = sharding.spec[0] if len(sharding.spec) == 1 else None
    if axis is None:
        raise ValueError(
            f"got sharding with {sharding.spec}, expected that of the samples alone, for example "
            "NamedSharding(mesh, PartitionSpec('samples'))"
        )
    return math.prod(sharding.mesh.shape[name] for name in _axis_names(sharding))


def _reaches_output(jaxpr: Any, source: Any) -> bool:
    """Follow a variable; an equation that reads what depends on it depends on it as a whole."""
    reached = {source}
    for eqn in jaxpr.eqns:
        if any(v in reached for v in eqn.invars if isinstance(v, jax.extend.core.Var)):
            reached.update(eqn.outvars)
    return any(v in reached for v in jaxpr.outvars if isinstance(v, jax.extend.core.Var))
