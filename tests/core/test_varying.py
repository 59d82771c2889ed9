"""Inside shard_map: what is replicated and what varies over a mesh axis, in every combination.

The reference is a Python loop over the shards. A gradient of what is replicated is their sum.
"""

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

import jaxdrop
from tests.functional.over_members import RATE, members

pytestmark = pytest.mark.slow

SHARDS = 2
MESHES = {
    "one axis": ((2,), ("a",), AxisType.Auto, True),
    "explicit": ((2,), ("a",), AxisType.Explicit, True),
    "two axes": ((2, 2), ("a", "b"), AxisType.Auto, True),
    "unchecked": ((2,), ("a",), AxisType.Auto, False),
}


def stacked(value: Any) -> Any:
    """A value for each shard, all of the same kind and different."""

    def stack(value: Any) -> Any:
        if jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
            return jax.vmap(functools.partial(jax.random.fold_in, value))(jnp.arange(SHARDS))
        return jnp.stack([value, value[::-1] if value.ndim else value / 2])

    return jax.tree.map(stack, value)


def is_float(value: Any) -> bool:
    return all(jnp.issubdtype(leaf.dtype, jnp.inexact) for leaf in jax.tree.leaves(value))


def of_shard(tree: Any, shard: int) -> Any:
    return jax.tree.map(lambda a: a[shard], tree)


def check(f: Callable[..., Any], values: Sequence[Any], varies: Any, mesh: str) -> None:
    """Compare ``f(*values)`` and its gradients in shard_map with a loop over the shards.

    Values and results are arrays or trees of them.
    """
    shape, names, axis_type, checked = MESHES[mesh]
    given = [stacked(v) if var else v for v, var in zip(values, varies, strict=True)]
    plain = list(given)  # for the loop
    learned = [i for i, v in enumerate(values) if is_float(v)]
    specs = tuple(P("a") if var else P() for var in varies)

    def own(*given: Any) -> list[Any]:
        return [of_shard(g, 0) if var else g for g, var in zip(given, varies, strict=True)]

    def batched(tree: Any) -> Any:
        return jax.tree.map(lambda a: a[None], tree)

    def local(*given: Any) -> Any:
        def loss(*chosen: Any) -> Any:
            arguments = own(*given)
            for i, g in zip(learned, chosen, strict=True):
                arguments[i] = g
            y = f(*arguments)
            at = jax.lax.axis_index("a").astype(jnp.float32)
            return jax.lax.psum(weight(y, at), "a"), y

        chosen = [own(*given)[i] for i in learned]
        if not checked:  # unchecked, a sum over devices has another transpose
            return batched(f(*own(*given))), ()
        gradients, y = jax.grad(loss, tuple(range(len(learned))), has_aux=True)(*chosen)
        return batched(y), tuple(
            batched(g) if varies[i] else g for i, g in zip(learned, gradients, strict=True)
        )

    out = (P("a"), tuple(specs[i] for i in learned) if checked else ())
    devices = jax.devices()[: int(np.prod(shape))]
    of_type = (axis_type,) * len(shape)
    grid = jax.make_mesh(shape, names, axis_types=of_type, devices=devices)
    if axis_type is AxisType.Explicit:
        given = [
            jax.device_put(g, jax.sharding.NamedSharding(grid, spec))
            for g, spec in zip(given, specs, strict=True)
        ]
    with jax.set_mesh(grid):
        sharded = jax.shard_map(local, in_specs=specs, out_specs=out, check_vma=checked)
        if checked:
            y, gradients = jax.jit(sharded)(*given)
        else:

            def outside(*chosen: Any) -> Any:
                arguments = list(given)
                for i, g in zip(learned, chosen, strict=True):
                    arguments[i] = g
                ys = sharded(*arguments)[0]
                return sum(weight(of_shard(ys, s), float(s)) for s in range(SHARDS)), ys

            gradient = jax.grad(outside, tuple(range(len(learned))), has_aux=True)
            gradients, y = jax.jit(gradient)(*(given[i] for i in learned))

    found = []
    for s in range(SHARDS):
        of_s = [of_shard(a, s) if var else a for a, var in zip(plain, varies, strict=True)]
        found.append(by_itself(f)(float(s), *of_s))
    compare(y, jax.tree.map(lambda *a: jnp.stack(a), *(y for _, y in found)), 2e-5)
    for i, got, *shards in zip(learned, gradients, *(g for g, _ in found), strict=True):
        together = (lambda *a: jnp.stack(a)) if varies[i] else (lambda *a: sum(a))
        compare(got, jax.tree.map(together, *shards), 1e-4)


def weight(y: Any, shard: Any) -> jax.Array:
    """What is differentiated; each shard has another weight in it."""
    leaves = [leaf.astype(jnp.float32) for leaf in jax.tree.leaves(y)]
    return sum((leaf * leaf).sum() for leaf in leaves) * (shard + 1.0)


@functools.cache
def by_itself(f: Callable[..., Any]) -> Callable[..., Any]:
    """A shard's gradients and output, outside of ``shard_map``; compiled once for all cases."""

    @jax.jit
    def run(shard: Any, *values: Any) -> Any:
        learned = [i for i, v in enumerate(values) if is_float(v)]

        def loss(*chosen: Any) -> Any:
            arguments = list(values)
            for i, v in zip(learned, chosen, strict=True):
                arguments[i] = v
            y = f(*arguments)
            return weight(y, shard), y

        chosen = [values[i] for i in learned]
        return jax.grad(loss, tuple(range(len(learned))), has_aux=True)(*chosen)

    return run


def compare(got: Any, expected: Any, tolerance: float) -> None:
    tree: Any  # mypy knows no == of what jax calls PyTreeDef
    (paths, tree), other = jax.tree.flatten_with_path(got), jax.tree.flatten(expected)
    assert tree == other[1]
    for (path, a), b in zip(paths, other[0], strict=True):
        name = jax.tree_util.keystr(path)
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance, err_msg=name)


def test_the_smallest_case():
    """w replicated, two masks: 1011 and 0101."""

    def shard(w: jax.Array) -> jax.Array:
        key = jax.random.fold_in(jax.random.key(0), jax.lax.axis_index("a"))
        return jax.grad(lambda w: jax.lax.psum(jaxdrop.dropout(key, w, 0.5).sum(), "a"))(w)

    with jax.set_mesh(jax.make_mesh((2,), ("a",), devices=jax.devices()[:2])):
        got = jax.jit(jax.shard_map(shard, in_specs=P(), out_specs=P()))(jnp.ones(4))
    np.testing.assert_array_equal(got, [2, 2, 2, 4])


def test_results_that_differ_are_not_taken_for_replicated():
    def shard(x: jax.Array) -> jax.Array:
        key = jax.random.fold_in(jax.random.key(0), jax.lax.axis_index("a"))
        return jaxdrop.dropout(key, x, 0.5)

    with jax.set_mesh(jax.make_mesh((2,), ("a",), devices=jax.devices()[:2])):
        with pytest.raises(ValueError, match="out_specs"):
            jax.jit(jax.shard_map(shard, in_specs=P(), out_specs=P()))(jnp.ones(4))


def together(functions: Mapping[str, Callable[..., Any]]) -> Callable[..., Any]:
    """Call every function with the one key and with what is its own, for one program of them."""

    def call(key: jax.Array, *given: Mapping[str, Any]) -> dict[str, Any]:
        return {
            name: f(jax.random.clone(key), *(g[name] for g in given if name in g))
            for name, f in functions.items()
        }

    return call


GROUPS = [{m.id: m for m in members[i::3]} for i in range(3)]


@functools.cache
def of_group(number: int) -> tuple[Callable[..., Any], Any, Any]:
    """Return the function that calls all members of a group, their integers and their floats."""
    group = GROUPS[number]
    xs = {name: member.example() for name, member in group.items()}
    calls = {
        name: lambda key, x, member=member: member.apply(key, x, RATE)
        for name, member in group.items()
    }
    integers = {name: x for name, x in xs.items() if not is_float(x)}
    return together(calls), integers, {name: x for name, x in xs.items() if is_float(x)}


over_groups = pytest.mark.parametrize("group", range(len(GROUPS)), ids=map("; ".join, GROUPS))


@pytest.mark.parametrize("varies", [(True, False), (True, True), (False, True)], ids=str)
@over_groups
def test_every_member(group: int, varies: tuple[bool, bool]):
    """(key, x)"""
    f, *xs = of_group(group)
    check(f, (jax.random.key(3), *xs), (varies[0], varies[1], varies[1]), "one axis")


@pytest.mark.parametrize("mesh", ["explicit", "two axes", "unchecked"])
@over_groups
def test_every_member_on_other_meshes(group: int, mesh: str):
    f, *xs = of_group(group)
    check(f, (jax.random.key(3), *xs), (True, False, False), mesh)


X = jnp.linspace(-1.5, 2.0, 12).reshape(3, 4)
KERNEL = jnp.linspace(-1.0, 1.0, 8).reshape(4, 2)
PARAMETERS: dict[str, tuple[Callable[..., jax.Array], tuple[Any, ...]]] = {
    "a rate on the device": (
        lambda key, x, r: jaxdrop.dropout(key, x, jax.lax.stop_gradient(r)), (X, jnp.float32(0.4))
    ),
    "bits='key'": (lambda key, x, r: jaxdrop.dropout(key, x * r, 0.4, bits="key"), (X, X)),
    "test": (
        lambda key, x, r: jaxdrop.dropout(key, x * r, 0.4, scale_at="test", broadcast_dims=(0,)),
        (X, X),
    ),
    "alpha": (lambda key, x, r: jaxdrop.alpha_dropout(key, x * r, 0.4), (X, X)),
    "concrete": (jaxdrop.concrete_dropout, (X, jnp.float32(0.4))),
    "variational": (
        lambda key, x, a: jaxdrop.variational_dropout(key, x, a - 1), (X, jnp.float32(0.4))
    ),
    "variational dense": (
        lambda key, x, k: jaxdrop.variational_dense(key, x, k, k - 3), (X, KERNEL)
    ),
    "drop_connect": (
        lambda key, x, k: jaxdrop.drop_connect_dense(key, x, 0.4, kernel=k), (X, KERNEL)
    ),
    "drop_connect, each": (
        lambda key, x, k: jaxdrop.drop_connect_dense(key, x, 0.4, kernel=k, per_example=True),
        (X, KERNEL),
    ),
    "zoneout": (lambda key, x, h: jaxdrop.zoneout(key, x, 0.4, previous=h), (X, X[::-1])),
    "embedding": (
        lambda key, x, t: x @ jaxdrop.embedding_dropout(key, t, 0.4, np.array([3, 1, 3, 0])),
        (X, KERNEL),
    ),
    "layer_drop": (
        lambda key, x, k: jaxdrop.layer_drop(key, x, 0.5, lambda h: h + h @ (k @ k.T)), (X, KERNEL)
    ),
    "a spread rate": (
        lambda key, x, r: jaxdrop.dropout(key, x, jax.lax.stop_gradient(r)), (X, jnp.abs(X) / 4)
    ),
}  # fmt: skip


CALLS = together({name: f for name, (f, _) in PARAMETERS.items()})
XS, OTHERS = ({name: values[i] for name, (_, values) in PARAMETERS.items()} for i in range(2))


@pytest.mark.parametrize("varies", list(itertools.product([True, False], repeat=2)), ids=str)
def test_parameters(varies: tuple[bool, bool]):
    """A key per shard; x and the parameter varying or replicated."""
    check(CALLS, (jax.random.key(5), XS, OTHERS), (True, *varies), "one axis")


@pytest.mark.parametrize("mesh", ["explicit", "two axes", "unchecked"])
def test_parameters_on_other_meshes(mesh: str):
    check(CALLS, (jax.random.key(5), XS, OTHERS), (True, True, False), mesh)


def test_parameters_that_vary_alone():
    check(CALLS, (jax.random.key(5), XS, OTHERS), (False, False, True), "one axis")
