"""fast_prng_impl under vmap, jit, scan, shardings and shard_map, and the check for reused keys."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from tests.core.fast_keys import data, fast, of


def test_vmap_over_keys_equals_the_loop() -> None:
    keys = data(jax.random.split(fast(41), 5))
    for draw in (jax.random.bits, jax.random.normal, jax.random.uniform):
        mapped = jax.vmap(functools.partial(draw, shape=(3, 4)))(of(keys))
        for i in range(5):
            np.testing.assert_array_equal(mapped[i], draw(of(keys[i]), (3, 4)))


def test_jit_equals_eager() -> None:
    eager = jax.random.bits(fast(42), (33, 5))
    np.testing.assert_array_equal(
        jax.jit(lambda key: jax.random.bits(key, (33, 5)))(fast(42)), eager
    )


def test_scan_over_keys_and_with_a_key_in_the_carry() -> None:
    keys = data(jax.random.split(fast(43), 4))
    _, drawn = jax.lax.scan(lambda c, key: (c, jax.random.bits(key, (6,))), 0, of(keys))
    for i in range(4):
        np.testing.assert_array_equal(drawn[i], jax.random.bits(of(keys[i]), (6,)))

    def step(key: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
        key, now = jax.random.split(key)
        return key, jax.random.uniform(now, (2,))

    last, values = jax.lax.scan(step, fast(44), None, length=3)
    assert values.shape == (3, 2) and len(np.unique(values)) == 6
    assert jax.random.key_impl(last) == "jaxdrop_fast"


def mesh() -> Mesh:
    return Mesh(np.array(jax.devices()).reshape(4, 2), ("x", "y"))


COLLECTIVES = ("all-reduce", "all-gather", "all-to-all", "collective-permute", "reduce-scatter")


def test_sharded_bits_are_the_same_without_collectives() -> None:
    place = NamedSharding(mesh(), PartitionSpec("x", "y"))
    draw = jax.jit(lambda key: jax.random.bits(key, (64, 32)), out_shardings=place)
    text = draw.lower(fast(45)).compile().as_text()
    assert text
    assert not [name for name in COLLECTIVES if name in text]
    np.testing.assert_array_equal(draw(fast(45)), jax.random.bits(fast(45), (64, 32)))


def test_sharded_dropout_of_jax_random_has_no_collectives() -> None:
    place = NamedSharding(mesh(), PartitionSpec("x", "y"))

    def drop(key: jax.Array, x: jax.Array) -> jax.Array:
        return jnp.where(jax.random.bernoulli(key, 0.9, x.shape), x / 0.9, 0.0)

    x = jnp.ones((64, 32))
    jitted = jax.jit(drop, in_shardings=(None, place), out_shardings=place)
    text = jitted.lower(fast(46), x).compile().as_text()
    assert text
    assert not [name for name in COLLECTIVES if name in text]
    np.testing.assert_array_equal(jitted(fast(46), jax.device_put(x, place)), drop(fast(46), x))


def test_shard_map_with_a_key_for_each_shard() -> None:
    keys = data(jax.random.split(fast(47), 4))
    rows = PartitionSpec("x")

    def draw(keys: jax.Array) -> jax.Array:
        return jax.random.bits(keys[0], (1, 8))

    drawn = jax.shard_map(draw, mesh=mesh(), in_specs=(rows,), out_specs=rows, check_vma=False)(
        of(keys)
    )
    for i in range(4):
        np.testing.assert_array_equal(drawn[i], jax.random.bits(of(keys[i]), (1, 8))[0])


def test_sharded_keys() -> None:
    place = NamedSharding(mesh(), PartitionSpec("x"))
    keys = data(jax.random.split(fast(48), 4))
    mapped = jax.jit(jax.vmap(lambda key: jax.random.bits(key, (3,))))
    np.testing.assert_array_equal(mapped(jax.device_put(of(keys), place)), mapped(of(keys)))


def test_reuse_of_a_key_is_noticed() -> None:
    key = fast(49)
    jax.random.normal(key, (2,))
    with pytest.raises(jax.errors.KeyReuseError):
        jax.random.normal(key, (2,))


def test_use_after_split_is_noticed() -> None:
    key = fast(50)
    jax.random.split(key)
    with pytest.raises(jax.errors.KeyReuseError):
        jax.random.bits(key, (2,))
