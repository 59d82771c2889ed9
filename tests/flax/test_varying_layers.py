"""Inside shard_map: every Linen and NNX layer that draws, against a loop over the shards."""

import functools
from typing import Any

import flax.linen as nn
import jax
import pytest
from flax import nnx
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

import jaxdrop.linen
import jaxdrop.nnx
from scripts.members._layer import ROWS, SEQUENCES
from tests.core.test_varying import by_itself, check, is_float
from tests.flax.layers import LAYERS, NO_RECORD, nnx_class

pytestmark = pytest.mark.slow

INPUTS = {name: layer.x for name, layer in LAYERS.items()}
FLOATS = {name: x for name, x in INPUTS.items() if is_float(x)}
INTEGERS = {name: x for name, x in INPUTS.items() if not is_float(x)}


@functools.cache
def linen_layers() -> tuple[Any, Any]:
    """The variables of all layers by name, and the function that calls them all."""
    modules = {name: layer.linen() for name, layer in LAYERS.items()}
    rngs = dict.fromkeys(("params", "dropout", "zoneout"), jax.random.key(0))
    variables = {name: dict(m.init(rngs, INPUTS[name])) for name, m in modules.items()}

    def call(key: jax.Array, integers: Any, floats: Any, params: Any) -> Any:
        x, rngs = integers | floats, {"dropout": key, "zoneout": key}
        return {name: m.apply(params[name], x[name], rngs=rngs) for name, m in modules.items()}

    return variables, call


@functools.cache
def nnx_layers() -> tuple[Any, Any]:
    """The same of NNX; the layers' streams start from the key."""
    params, rest, graphs = {}, {}, {}
    for name, layer in LAYERS.items():
        graphs[name], *states = nnx.split(layer.nnx(nnx.Rngs(0)), nnx.Param, ...)
        params[name], rest[name] = map(nnx.as_pure, states)

    def call(key: jax.Array, integers: Any, floats: Any, params: Any) -> Any:
        ys = {}
        for name, x in (integers | floats).items():
            layer = nnx.merge(graphs[name], params[name], rest[name])
            nnx.reseed(layer, default=key)
            ys[name] = layer(x)
        return ys

    return params, call


def test_every_public_layer_is_among_them() -> None:
    names = {name.partition(",")[0] for name in LAYERS}
    twins = {nnx_class(name).__name__ for name in names}
    names, twins = names | NO_RECORD, twins | NO_RECORD
    for package, base, ours in (
        (jaxdrop.linen, nn.Module, names),
        (jaxdrop.nnx, nnx.Module, twins),
    ):
        classes = {n for n, c in vars(package).items() if isinstance(c, type)}
        assert {n for n in classes if issubclass(getattr(package, n), base)} == ours


@pytest.mark.parametrize("layers", [linen_layers, nnx_layers])
def test_every_layer_draws_from_the_key(layers: Any) -> None:
    params, call = layers()
    ys = [
        by_itself(call)(0.0, jax.random.key(seed), INTEGERS, FLOATS, params)[1] for seed in range(8)
    ]
    for name in LAYERS:
        assert any((ys[0][name] != y[name]).any() for y in ys), name


BOTH, LINEN, NNX = (linen_layers, nnx_layers), (linen_layers,), (nnx_layers,)
CASES = [  # (key, x, parameters) vary
    (BOTH, "one axis", (False, True, False)),
    (BOTH, "one axis", (False, False, True)),
    (BOTH, "unchecked", (True, False, False)),
    # What differs from one mesh to another is not the layers'.
    (NNX, "explicit", (True, True, False)),
    (LINEN, "two axes", (True, False, False)),
]


@pytest.mark.parametrize(
    ("layers", "mesh", "varies"), [(one, *case) for which, *case in CASES for one in which]
)
def test_every_layer(layers: Any, mesh: str, varies: tuple[bool, bool, bool]) -> None:
    """All layers are one program."""
    params, call = layers()
    key, x, learned = varies
    check(call, (jax.random.key(5), INTEGERS, FLOATS, params), (key, x, x, learned), mesh)


class Add(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array, other: jax.Array) -> jax.Array:
        return x + other


class NNXAdd(nnx.Module):
    def __call__(self, x: jax.Array, other: jax.Array) -> jax.Array:
        return x + other


def linen_add(key: jax.Array, x: jax.Array, other: jax.Array) -> jax.Array:
    layer = jaxdrop.linen.LayerDrop(Add(), 0.5, deterministic=False)
    y: Any = layer.apply({}, x, other=other, rngs={"dropout": key})
    return y


def nnx_add(key: jax.Array, x: jax.Array, other: jax.Array) -> jax.Array:
    return jaxdrop.nnx.LayerDrop(NNXAdd(), 0.5)(x, other, rngs=key)


@pytest.mark.parametrize("add", [linen_add, nnx_add])
def test_a_layer_that_is_skipped_may_read_what_varies(add: Any) -> None:
    """The branches of one conditional: x alone, which is replicated, and x with what varies."""
    for seed in (0, 1, 2, 3):  # run and skipped
        check(add, (jax.random.key(seed), ROWS, ROWS), (False, False, True), "one axis")


ZONEOUT = functools.partial(jaxdrop.linen.Zoneout, deterministic=True)


@pytest.mark.parametrize("wrap", [lambda cell: cell, ZONEOUT], ids=["bare", "ours"])
def test_flaxs_rnn_wants_a_marked_carry_of_any_cell(wrap: Any) -> None:
    """What the docstrings say of ``initial_carry``; ``scripts/members/_rnn.py`` marks it."""
    rnn = nn.RNN(wrap(nn.LSTMCell(4)))
    variables = rnn.init(jax.random.key(0), SEQUENCES)
    mesh = jax.make_mesh((2,), ("a",), axis_types=(AxisType.Auto,), devices=jax.devices()[:2])
    with jax.set_mesh(mesh), pytest.raises(TypeError, match="scan body function carry input and"):
        shard = functools.partial(rnn.apply, variables)
        jax.jit(jax.shard_map(shard, in_specs=P("a"), out_specs=P("a")))(SEQUENCES)
