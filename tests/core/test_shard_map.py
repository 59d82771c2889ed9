"""Inside shard_map every shard asks for its part of the one mask: by index_offset."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

import jaxdrop
from scripts.proofs import hlo

pytestmark = pytest.mark.slow

SHAPE = (16, 24)


def make_mesh(axis_type: AxisType = AxisType.Auto) -> jax.sharding.Mesh:
    return jax.make_mesh((4, 2), ("data", "model"), axis_types=(axis_type,) * 2)


def inputs() -> jax.Array:
    return jax.random.normal(jax.random.key(1), SHAPE)


def position(spec: P, shape: tuple[int, ...]) -> tuple[Any, ...]:
    """The recipe of docs/guarantees.md: where this shard's block starts."""
    return tuple(
        0 if axes is None else jax.lax.axis_index(axes) * n
        for axes, n in zip(spec, shape, strict=False)
    )


@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit], ids=str)
@pytest.mark.parametrize(
    "spec",
    [P("data"), P(("data", "model")), P(None, "model"), P("data", "model"), P("model", "data")],
    ids=str,
)
def test_shards_draw_their_part_of_the_global_mask(spec: P, axis_type: AxisType):
    key, x = jax.random.key(0), inputs()
    mesh = make_mesh(axis_type)

    def shard(key: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        def drop(x: jax.Array) -> jax.Array:
            offset = position(spec, x.shape)
            return jaxdrop.dropout(key, x, 0.3, index_offset=offset, global_shape=SHAPE)

        y, pull = jax.vjp(drop, x)
        return y, pull(y)[0]

    with jax.set_mesh(mesh):
        sharded = jax.device_put(x, jax.sharding.NamedSharding(mesh, spec))
        step = jax.jit(jax.shard_map(shard, in_specs=(P(), spec), out_specs=spec))
        compiled = step.lower(key, sharded).compile()
        y, gradient = compiled(key, sharded)
    expected, pull = jax.vjp(lambda x: jaxdrop.dropout(key, x, 0.3), x)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(gradient, pull(expected)[0])
    assert (text := compiled.as_text()) and hlo.collectives(text) == []


def test_rows_alone_need_no_global_shape():
    """The common case, rows over the data axis, as the docs and the docstring show it."""
    key, x = jax.random.key(0), inputs()

    def shard(key: jax.Array, x: jax.Array) -> jax.Array:
        rows = (jax.lax.axis_index("data") * x.shape[0],)
        return jaxdrop.dropout(key, x, 0.3, index_offset=rows)

    with jax.set_mesh(make_mesh()):
        y = jax.jit(jax.shard_map(shard, in_specs=(P(), P("data")), out_specs=P("data")))(key, x)
    np.testing.assert_array_equal(y, jaxdrop.dropout(key, x, 0.3))


@pytest.mark.parametrize("dims", [(0,), (1,)], ids=str)
def test_broadcast_dims(dims: tuple[int, ...]):
    key, x = jax.random.key(0), inputs()
    spec = P("data", "model")

    def shard(key: jax.Array, x: jax.Array) -> jax.Array:
        return jaxdrop.dropout(
            key,
            x,
            0.3,
            broadcast_dims=dims,
            index_offset=position(spec, x.shape),
            global_shape=SHAPE,
        )

    with jax.set_mesh(make_mesh()):
        y = jax.jit(jax.shard_map(shard, in_specs=(P(), spec), out_specs=spec))(key, x)
    np.testing.assert_array_equal(y, jaxdrop.dropout(key, x, 0.3, broadcast_dims=dims))


def test_masks_and_bits():
    key, spec = jax.random.key(0), P("data", "model")

    def shard(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        block = (SHAPE[0] // 4, SHAPE[1] // 2)
        where: Any = {"index_offset": position(spec, block), "global_shape": SHAPE}
        return jaxdrop.keep_mask(key, block, 0.3, **where), jaxdrop.random_bits(key, block, **where)

    with jax.set_mesh(make_mesh()):
        mask, bits = jax.jit(jax.shard_map(shard, in_specs=P(), out_specs=spec))(key)
    np.testing.assert_array_equal(mask, jaxdrop.keep_mask(key, SHAPE, 0.3))
    np.testing.assert_array_equal(bits, jaxdrop.random_bits(key, SHAPE))


def test_without_an_offset_a_replicated_key_repeats_one_mask():
    """What the docs warn of. If this fails, the warning can go."""
    key, x = jax.random.key(0), jnp.ones(SHAPE)
    with jax.set_mesh(make_mesh()):
        y = jax.jit(
            jax.shard_map(
                lambda key, x: jaxdrop.dropout(key, x, 0.3),
                in_specs=(P(), P("data")),
                out_specs=P("data"),
            )
        )(key, x)
    blocks = np.asarray(y).reshape(4, 4, 24)
    np.testing.assert_array_equal(blocks, blocks[:1].repeat(4, 0))
    assert "shard_map" in (jaxdrop.dropout.__doc__ or "")


def test_fast_prng_with_a_key_per_shard():
    """JAX draws know no offset: there every shard folds its position into the key."""
    key = jax.random.key(0, impl=jaxdrop.fast_prng_impl)

    def shard(key: jax.Array) -> jax.Array:
        mine = jax.random.fold_in(key, jax.lax.axis_index("data"))
        return jax.random.bits(mine, (4, 8))

    with jax.set_mesh(make_mesh()):
        drawn = jax.jit(jax.shard_map(shard, in_specs=P(), out_specs=P("data")))
        compiled = drawn.lower(key).compile()
        bits = compiled(key)
    expected = [jax.random.bits(jax.random.fold_in(key, i), (4, 8)) for i in range(4)]
    np.testing.assert_array_equal(bits, jnp.concatenate(expected))
    assert (text := compiled.as_text()) and hlo.collectives(text) == []


def test_pmap():
    key, x = jax.random.key(0), inputs().reshape(4, 4, 24)
    y = jax.pmap(
        lambda key, x: jaxdrop.dropout(
            key, x, 0.3, index_offset=(jax.lax.axis_index("data") * x.shape[0],)
        ),
        axis_name="data",
        in_axes=(None, 0),
        devices=jax.devices()[:4],
    )(key, x)
    expected = jaxdrop.dropout(key, inputs(), 0.3)
    np.testing.assert_array_equal(np.asarray(y).reshape(SHAPE), expected)
