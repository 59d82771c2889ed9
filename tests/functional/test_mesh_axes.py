"""mesh_axes: inside shard_map every member draws its part of the mask of the whole array."""

import dataclasses
import functools
from typing import Any

import jax
import numpy as np
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

import jaxdrop
from scripts.members import Case
from tests.core.test_varying import is_float
from tests.functional.over_members import RATE, members

pytestmark = pytest.mark.slow


def to_split(member: Case) -> Case:
    """The member with an x that every mesh can split."""
    shape = [8 if d in (member.split or ()) else n for d, n in enumerate(member.shape)]
    return dataclasses.replace(member, shape=tuple(shape))


MEMBERS = {m.id: to_split(m) for m in members if m.split}
MESHES = {
    "1-D": {"data": 8},
    "2-D": {"data": 4, "model": 2},
    "3-D": {"data": 2, "seq": 2, "model": 2},
}
KEY = jax.random.key(15)


def grid(name: str) -> jax.sharding.Mesh:
    sizes = MESHES[name]
    kinds = (AxisType.Auto,) * len(sizes)
    return jax.make_mesh(tuple(sizes.values()), tuple(sizes), axis_types=kinds)


def spread(member: Case, axes: tuple[str, ...]) -> P:
    """Split the dimensions of a member's x by mesh axes; what is left over, the first by several.

    With fewer axes it is the first dimension and the last ones; with "model" alone, the last.
    """
    assert member.split is not None
    dims = [member.split[-1]] if axes == ("model",) else list(member.split)
    spec: list[Any] = [None] * len(member.shape)
    while len(dims) > len(axes):
        del dims[-2 if len(dims) > 1 else 0]
    for d, axis in zip(dims[1:], axes[len(axes) - len(dims) + 1 :], strict=True):
        spec[d] = axis
    spec[dims[0]] = axes[: len(axes) - len(dims) + 1]
    return P(*spec)


def both(member: Case, key: jax.Array, x: jax.Array, mesh_axes: Any) -> tuple[jax.Array, ...]:
    """A member's output, and the gradient where it has one."""

    def apply(x: jax.Array) -> jax.Array:
        return member.apply(jax.random.clone(key), x, RATE, mesh_axes=mesh_axes)

    if not is_float(x):
        return (apply(x),)
    y, pull = jax.vjp(apply, x)
    return y, pull(y)[0]


@functools.cache
def of_whole() -> dict[str, tuple[jax.Array, ...]]:
    """What every member gives without ``shard_map``, whatever ``mesh_axes`` says."""
    xs = {name: member.example() for name, member in MEMBERS.items()}

    @jax.jit
    def run(key: jax.Array, xs: dict[str, jax.Array]) -> Any:
        return {name: both(MEMBERS[name], key, x, ("data",)) for name, x in xs.items()}

    return run(KEY, xs)


def of_shards(mesh: str, specs: dict[str, P], checked: bool = True, **said: Any) -> Any:
    """The same inside ``shard_map``, put together; ``said`` is told in place of what is so."""
    xs = {name: MEMBERS[name].example() for name in specs}
    out = {name: (spec, spec) if is_float(xs[name]) else (spec,) for name, spec in specs.items()}

    def shard(key: jax.Array, xs: dict[str, jax.Array]) -> Any:
        return {
            name: both(MEMBERS[name], key, x, said.get("mesh_axes", specs[name]))
            for name, x in xs.items()
        }

    call = jax.shard_map(
        shard, mesh=grid(mesh), in_specs=(P(), specs), out_specs=out, check_vma=checked
    )
    return jax.jit(call)(KEY, xs)


@pytest.mark.parametrize(
    ("mesh", "axes"),
    [
        ("1-D", ("data",)),
        ("2-D", ("model",)),  # copies over the other axis
        ("3-D", ("data", "seq", "model")),
    ],
    ids=str,
)
def test_every_member_draws_its_part(mesh: str, axes: tuple[str, ...]) -> None:
    compare(of_shards(mesh, {name: spread(member, axes) for name, member in MEMBERS.items()}))


def test_without_check_vma() -> None:
    names = ("dropout", "drop_block", "cutout", "gaussian_dropout")
    specs = {name: spread(MEMBERS[name], ("model", "data")) for name in names}
    compare(of_shards("2-D", specs, checked=False))


def compare(got: dict[str, tuple[jax.Array, ...]]) -> None:
    for name, ys in got.items():
        for pair in zip(ys, of_whole()[name], strict=True):
            one, other = map(np.asarray, pair)
            np.testing.assert_array_equal(one == 0, other == 0, err_msg=name)
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=2e-6, err_msg=name)


@pytest.mark.parametrize("name", MEMBERS)
def test_an_axis_left_out_or_too_many_is_told(name: str) -> None:
    """Nothing is compiled."""
    member = MEMBERS[name]
    one, two = spread(member, ("data",)), spread(member, ("data", "model"))
    with pytest.raises(ValueError, match=r"differs over the mesh axis 'model'.*fold_in"):
        of_shards("2-D", {name: two}, mesh_axes=one)
    with pytest.raises(ValueError, match=r"'model' in mesh_axes.* the same over that mesh axis"):
        of_shards("2-D", {name: one}, mesh_axes=two)
    with pytest.raises(ValueError, match=r"got 'dta' in mesh_axes.* axes \('data', 'model'\)"):
        of_shards("2-D", {name: one}, mesh_axes=("dta",))


def test_every_member_with_a_record_is_among_them() -> None:
    """The others say in their docstrings, or on the family's page, what they do."""
    assert {m.name for m in members if not m.split} == {"layer_drop", "weight_drop"}


def test_swapped_axes_give_another_mask() -> None:
    """They cannot be told from the right ones; the comparison above catches them."""
    for swapped in (("model", "data"), (None, ("data", "model"))):
        got = of_shards("2-D", {"dropout": P("data", "model")}, mesh_axes=swapped)
        assert (got["dropout"][0] != of_whole()["dropout"][0]).mean() > 0.2


def test_a_key_of_its_own_needs_no_name() -> None:
    """Experts, for example: x and key differ over an axis that splits no dimension."""

    def shard(x: jax.Array) -> jax.Array:
        key = jax.random.fold_in(KEY, jax.lax.axis_index("model"))
        return jaxdrop.dropout(key, x[0], RATE, mesh_axes=("data",))[None]

    x = MEMBERS["dropout"].example().reshape(2, 4, 8, 8)
    spec = P("model", "data")
    y = jax.jit(jax.shard_map(shard, mesh=grid("2-D"), in_specs=spec, out_specs=spec))(x)
    for i in range(2):
        want = jaxdrop.dropout(jax.random.fold_in(KEY, i), x[i], RATE)
        np.testing.assert_array_equal(y[i], want)
