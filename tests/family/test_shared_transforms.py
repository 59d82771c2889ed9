"""The members of the family under jit, vmap, scan, traced rates and modes, batches and meshes."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from tests.family.over_members import RATE, close, key, over, run
from tests.family.registry import Member


@over()
def test_jit_vmap_and_scan_give_what_eager_gives(member: Member) -> None:
    x, keys = member.example(), jax.random.split(key(1), 3)
    want = jnp.stack([member.apply(k, x, RATE) for k in keys])

    def f(k: jax.Array, x: jax.Array) -> jax.Array:
        return member.apply(k, x, RATE)

    one = jax.jit(f)
    close(jnp.stack([one(k, x) for k in keys]), want)
    close(jax.vmap(lambda k: f(k, x))(keys), want)
    close(jax.lax.scan(lambda c, k: (c, f(k, x)), 0, keys)[1], want)


@over(batch_first=True)
def test_rows_do_not_move_when_the_batch_grows(member: Member) -> None:
    x = member.example()
    close(run(member, key(2), x[:1]), run(member, key(2), x)[:1])


@over(traced_rate=True)
def test_a_traced_rate_gives_what_the_number_gives(member: Member) -> None:
    x = member.example()
    # A rate that float32 holds exactly, so that both thresholds are the same.
    traced = jax.jit(member.apply)
    close(traced(key(4), x, jnp.float32(0.375)), run(member, key(4), x, 0.375))
    y = traced(key(4), x, jnp.float32(-0.5))
    np.testing.assert_array_equal(y, member.test_time(x))
    if member.rate_one is not None:
        y = traced(key(4), x, jnp.float32(1.5))
        np.testing.assert_array_equal(y, member.rate_one(x))


@over(traced_mode=True)
def test_the_mode_may_be_traced(member: Member) -> None:
    x = member.example()
    f = jax.jit(lambda mode: member.apply(key(), x, RATE, deterministic=mode))
    close(f(jnp.bool_(True)), member.in_test_mode(x, RATE))
    close(f(jnp.bool_(False)), run(member, key(), x))


@over(batch_first=True)
@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit])
def test_the_result_does_not_depend_on_the_sharding(member: Member, kind: AxisType) -> None:
    grown = dataclasses.replace(member, shape=(8, *member.shape[1:]))
    x = grown.example()
    mesh = jax.make_mesh((4,), ("data",), (kind,), devices=jax.devices()[:4])
    with jax.set_mesh(mesh):
        spread = jax.device_put(x, NamedSharding(mesh, PartitionSpec("data")))
        y = jax.jit(lambda k, x: member.apply(k, x, RATE))(key(6), spread)
    close(y, run(member, key(6), x))
