"""The same bits for every sharding, and nothing sent between devices to get them."""

import re
from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import AxisType, NamedSharding, SingleDeviceSharding
from jax.sharding import PartitionSpec as P

import jaxdrop
import jaxdrop.linen
import jaxdrop.nnx
from scripts.proofs import hlo

pytestmark = pytest.mark.slow

AXIS_TYPES = [AxisType.Auto, AxisType.Explicit]
MESHES = {"1-D": ((8,), ("data",)), "2-D": ((4, 2), ("data", "model"))}
SPECS = [
    ("1-D", P("data")),
    ("1-D", P(None, "data")),
    ("2-D", P("data")),
    ("2-D", P(None, "model")),
    ("2-D", P("data", "model")),
    ("2-D", P(("data", "model"))),
    ("2-D", P("model", None, "data")),
    ("2-D", P()),
]
SHAPE = (16, 24, 8)


def make_mesh(name: str, axis_type: AxisType) -> jax.sharding.Mesh:
    sizes, names = MESHES[name]
    return jax.make_mesh(sizes, names, axis_types=(axis_type,) * len(names))


def inputs(shape: tuple[int, ...] = SHAPE) -> jax.Array:
    return jax.random.normal(jax.random.key(1), shape)


def key(seed: int = 0) -> jax.Array:
    return jax.random.key(seed)


def linen(key: jax.Array, x: jax.Array, **options: Any) -> jax.Array:
    layer = jaxdrop.linen.Dropout(0.3, deterministic=False, **options)
    return cast(jax.Array, layer.apply({}, x, rng=key))


def flax_nnx(key: jax.Array, x: jax.Array, **options: Any) -> jax.Array:
    return jaxdrop.nnx.Dropout(0.3, deterministic=False, **options)(x, rngs=key)


def function(key: jax.Array, x: jax.Array, **options: Any) -> jax.Array:
    return jaxdrop.dropout(key, x, 0.3, **options)


@jax.jit
def step(key: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    y, pull = jax.vjp(lambda x: function(key, x), x)
    return y, pull(y)[0]


@pytest.mark.parametrize("axis_type", AXIS_TYPES, ids=str)
@pytest.mark.parametrize(("mesh_name", "spec"), SPECS, ids=str)
def test_dropout_and_its_gradient(mesh_name: str, spec: P, axis_type: AxisType):
    x = inputs()
    expected = step(key(), x)
    mesh = make_mesh(mesh_name, axis_type)
    with jax.set_mesh(mesh):
        sharded = jax.device_put(x, NamedSharding(mesh, spec))
        compiled = step.lower(key(), sharded).compile()
        got = compiled(key(), sharded)
    np.testing.assert_array_equal(got[0], expected[0])
    np.testing.assert_array_equal(got[1], expected[1])
    assert got[0].sharding.is_equivalent_to(sharded.sharding, x.ndim)
    assert (text := compiled.as_text()) and hlo.collectives(text) == []


@pytest.mark.parametrize("axis_type", AXIS_TYPES, ids=str)
@pytest.mark.parametrize("spec", [P("data"), P("data", "model")], ids=str)
def test_dropout_outside_of_jit(spec: P, axis_type: AxisType):
    mesh = make_mesh("2-D", axis_type)
    with jax.set_mesh(mesh):
        got = function(key(), jax.device_put(inputs(), NamedSharding(mesh, spec)))
    np.testing.assert_array_equal(got, function(key(), inputs()))


def check_sharded_on_two_axes(
    drop: Any, x: jax.Array, expected: jax.Array, axis_type: AxisType
) -> None:
    """The same numbers on a mesh of two axes, with nothing sent between devices."""
    mesh = make_mesh("2-D", axis_type)
    with jax.set_mesh(mesh):
        sharded = jax.device_put(x, NamedSharding(mesh, P("data", "model")))
        compiled = drop.lower(key(), sharded).compile()
        got = compiled(key(), sharded)
    np.testing.assert_array_equal(got, expected)
    assert (text := compiled.as_text()) and hlo.collectives(text) == []


@pytest.mark.parametrize("axis_type", AXIS_TYPES, ids=str)
@pytest.mark.parametrize(
    ("broadcast_dims", "bits"),
    [((0,), "fast"), ((-1,), "fast"), ((0, 1), "fast"), ((0, 1, 2), "fast"), ((0,), "key")],
    ids=str,
)
def test_broadcast_dims_on_sharded_axes(broadcast_dims: Any, bits: Any, axis_type: AxisType):
    x = inputs()
    drop = jax.jit(lambda key, x: function(key, x, broadcast_dims=broadcast_dims, bits=bits))
    expected = drop(key(), x)
    check_sharded_on_two_axes(drop, x, expected, axis_type)


@pytest.mark.parametrize("axis_type", AXIS_TYPES, ids=str)
@pytest.mark.parametrize("options", [{}, {"broadcast_dims": (0,)}], ids=str)
@pytest.mark.parametrize("layer", [linen, flax_nnx])
def test_modules(layer: Callable[..., jax.Array], options: dict[str, Any], axis_type: AxisType):
    x = inputs()
    drop = jax.jit(lambda key, x: layer(key, x, **options))
    expected = function(key(), x, **options)
    check_sharded_on_two_axes(drop, x, expected, axis_type)


@pytest.mark.parametrize("axis_type", AXIS_TYPES, ids=str)
def test_nnx_module_with_its_own_stream(axis_type: AxisType):
    x = inputs()
    expected = jaxdrop.nnx.Dropout(0.3, rngs=nnx.Rngs(0))(x)
    mesh = make_mesh("2-D", axis_type)
    with jax.set_mesh(mesh):
        layer = jaxdrop.nnx.Dropout(0.3, rngs=nnx.Rngs(0))
        sharded = jax.device_put(x, NamedSharding(mesh, P("data", "model")))
        got = nnx.jit(lambda layer, x: layer(x))(layer, sharded)
    np.testing.assert_array_equal(got, expected)


DRAWS: dict[str, Callable[..., jax.Array]] = {
    "bits": jax.random.bits,
    "normal": jax.random.normal,
    "bernoulli": lambda key, shape, **options: jax.random.bernoulli(key, 0.3, shape, **options),
}


@pytest.mark.parametrize("axis_type", AXIS_TYPES, ids=str)
@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize("spec", [P(None, "model"), P("data", "model")], ids=str)
def test_fast_prng(spec: P, draw: str, axis_type: AxisType):
    def fast() -> jax.Array:
        return jax.random.key(0, impl=jaxdrop.fast_prng_impl)

    expected = jax.jit(lambda key: DRAWS[draw](key, SHAPE))(fast())
    mesh = make_mesh("2-D", axis_type)
    with jax.set_mesh(mesh):
        sharding = NamedSharding(mesh, spec)
        options = {"out_sharding": sharding} if axis_type is AxisType.Explicit else {}
        drawn = jax.jit(lambda key: DRAWS[draw](key, SHAPE, **options), out_shardings=sharding)
        compiled = drawn.lower(fast()).compile()
        got = compiled(fast())
    np.testing.assert_array_equal(got, expected)
    assert got.sharding.is_equivalent_to(sharding, len(SHAPE))
    assert (text := compiled.as_text()) and hlo.collectives(text) == []


@pytest.mark.parametrize("draw", ["keep_mask", "random_bits"])
@pytest.mark.parametrize("spec", [P("data"), P(None, "model"), P("data", "model")], ids=str)
def test_masks_and_bits_drawn_in_place(spec: P, draw: str):
    rate = (0.3,) if draw == "keep_mask" else ()
    make = getattr(jaxdrop, draw)
    mesh = make_mesh("2-D", AxisType.Auto)
    with jax.set_mesh(mesh):
        sharding = NamedSharding(mesh, spec)
        drawn = jax.jit(lambda key: make(key, SHAPE, *rate), out_shardings=sharding)
        compiled = drawn.lower(key()).compile()
        got = compiled(key())
    np.testing.assert_array_equal(got, make(key(), SHAPE, *rate))
    assert (text := compiled.as_text()) and hlo.collectives(text) == []


@pytest.mark.parametrize("shape", [(13, 24), (16, 7), (13, 7), (3, 5)], ids=str)
def test_uneven_shards(shape: tuple[int, ...]):
    """Dimensions that the mesh does not divide: JAX takes them as constraints inside jit."""
    x = inputs(shape)
    mesh = make_mesh("2-D", AxisType.Auto)
    with jax.set_mesh(mesh):
        sharding = NamedSharding(mesh, P("data", "model"))

        @jax.jit
        def step(key: jax.Array, x: jax.Array) -> jax.Array:
            x = jax.lax.with_sharding_constraint(x * 2, sharding)
            return jax.lax.with_sharding_constraint(function(key, x), sharding).sum()

        got = jax.jit(lambda key, x: function(key, jax.lax.with_sharding_constraint(x, sharding)))(
            key(), x
        )
        text = step.lower(key(), x).compile().as_text()
    np.testing.assert_array_equal(got, function(key(), x))
    padded = rf"\b(f32|u32)\[{-(-shape[0] // 4)},{-(-shape[1] // 2)}\]"
    assert text and re.search(padded, text), "the program works on whole arrays: nothing was tested"


@pytest.mark.parametrize("axis_type", AXIS_TYPES, ids=str)
def test_matmul_stack_keeps_its_mask_on_any_mesh(axis_type: AxisType):
    """Between sharded layers, where the compiler is free to choose, the mask still is the same."""
    w = jax.random.normal(jax.random.key(2), (32, 32)) / 8
    x = inputs((16, 32))

    @jax.jit
    def zeros(key: jax.Array, x: jax.Array, w: jax.Array) -> jax.Array:
        return function(key, jnp.exp(x @ w)) == 0

    expected = zeros(key(), x, w)
    mesh = make_mesh("2-D", axis_type)
    with jax.set_mesh(mesh):
        got = zeros(
            key(),
            jax.device_put(x, NamedSharding(mesh, P("data"))),
            jax.device_put(w, NamedSharding(mesh, P(None, "model"))),
        )
    np.testing.assert_array_equal(got, expected)


def test_mixed_axis_types():
    x = inputs()
    mesh = jax.make_mesh((4, 2), ("data", "model"), axis_types=(AxisType.Explicit, AxisType.Auto))
    with jax.set_mesh(mesh):
        sharded = jax.device_put(x, NamedSharding(mesh, P("data", "model")))
        got = jax.jit(function)(key(), sharded)
        shared = jax.jit(lambda key, x: function(key, x, broadcast_dims=(0,)))(key(), sharded)
    np.testing.assert_array_equal(got, function(key(), x))
    np.testing.assert_array_equal(shared, function(key(), x, broadcast_dims=(0,)))


def test_sharded_rate_per_channel():
    x, rate = inputs((16, 24)), jnp.linspace(0.0, 1.0, 24)
    for axis_type in AXIS_TYPES:
        mesh = make_mesh("2-D", axis_type)
        with jax.set_mesh(mesh):
            sharded = jax.device_put(x, NamedSharding(mesh, P("data", "model")))
            rates = jax.device_put(rate, NamedSharding(mesh, P("model")))
            got = jax.jit(jaxdrop.dropout)(key(), sharded, rates)
            whole = jax.jit(jaxdrop.dropout)(key(), sharded, rate)
        np.testing.assert_array_equal(got, jax.jit(jaxdrop.dropout)(key(), x, rate))
        np.testing.assert_array_equal(got, whole)


def test_every_device_draws_the_same():
    x = inputs()
    for device in jax.devices():
        there = jax.device_put(x, SingleDeviceSharding(device))
        np.testing.assert_array_equal(
            function(jax.device_put(key(), device), there), function(key(), x)
        )


def test_the_check_sees_a_collective():
    mesh = make_mesh("1-D", AxisType.Auto)
    with jax.set_mesh(mesh):
        x = jax.device_put(inputs((16, 24)), NamedSharding(mesh, P("data")))
        text = jax.jit(lambda x: x - x.sum(0, keepdims=True)).lower(x).compile().as_text()
    assert text and hlo.collectives(text) == ["all-reduce"]
