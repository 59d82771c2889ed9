"""The members of the family under jit, vmap, scan, traced rates and modes, batches and meshes."""

import dataclasses

import jax
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from scripts.members import Case
from tests.functional.over_members import RATE, close, key, over, run

pytestmark = pytest.mark.slow


@over()
def test_jit_vmap_and_scan_give_what_eager_gives(member: Case) -> None:
    x, keys = member.example(), jax.random.split(key(1), 3)
    want = np.stack([member.apply(k, x, RATE) for k in keys])
    close(np.stack([run(member, k, x) for k in keys]), want)

    @jax.jit
    def each_way(keys: jax.Array, x: jax.Array) -> list[jax.Array]:
        def f(k: jax.Array) -> jax.Array:
            return member.apply(k, x, RATE)

        return [jax.vmap(f)(keys), jax.lax.map(f, keys)]

    for got in each_way(keys, x):
        close(got, want)


@over(batch_first=True)
def test_rows_do_not_move_when_the_batch_grows(member: Case) -> None:
    x = member.example()
    close(run(member, key(2), x[:1]), run(member, key(2), x)[:1])


@over(traced_rate=True)
def test_a_traced_rate_gives_what_the_number_gives(member: Case) -> None:
    x = member.example()
    traced = jax.jit(member.apply)
    close(traced(key(4), x, np.float32(RATE)), run(member, key(4), x))
    y = traced(key(4), x, np.float32(-0.5))
    np.testing.assert_array_equal(y, member.test_time(x))
    if member.rate_one is not None:
        for rate in (1.0, 1.5):
            y = traced(key(4), x, np.float32(rate))
            np.testing.assert_array_equal(y, member.rate_one(x))


@over(traced_mode=True)
def test_the_mode_may_be_traced(member: Case) -> None:
    x = member.example()
    f = jax.jit(lambda mode: member.apply(key(), x, RATE, deterministic=mode))
    close(f(True), member.in_test_mode(x, RATE))
    close(f(False), run(member, key(), x))


@over(batch_first=True)
@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit])
def test_the_result_does_not_depend_on_the_sharding(member: Case, kind: AxisType) -> None:
    grown = dataclasses.replace(member, shape=(8, *member.shape[1:]))
    x = grown.example()
    mesh = jax.make_mesh((4,), ("data",), (kind,), devices=jax.devices()[:4])
    with jax.set_mesh(mesh):
        spread = jax.device_put(x, NamedSharding(mesh, PartitionSpec("data")))
        y = jax.jit(lambda k, x: member.apply(k, x, RATE))(key(6), spread)
    close(y, run(member, key(6), x))
