"""mesh_axes of the layers: inside shard_map each draws its part of the mask of the whole array."""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import pytest
from flax import nnx
from jax.sharding import PartitionSpec as P

from scripts.members import Layer
from scripts.members._rnn import NNXRNN, LinenRNN
from tests.core.test_varying import is_float
from tests.flax.layers import LAYERS

pytestmark = pytest.mark.slow

# Those that choose among all of what they are given, and one that decides once for all.
WITHOUT = {"DropPathSubset", "LayerDrop"}
SPLIT = {name: layer for name, layer in LAYERS.items() if layer.name not in WITHOUT}
XS = {name: np.resize(layer.x, (8, *layer.x.shape[1:])) for name, layer in SPLIT.items()}
KEY = jax.random.key(16)


def spec_of(layer: Layer) -> P:
    """Examples over one axis; features, which a learned layer needs as a whole, over another."""
    x = layer.x
    if layer.options is None or x.shape[-1] != 4:
        return P("a")
    return P("a", *(None,) * (x.ndim - 2), "model")


SPECS = {name: spec_of(layer) for name, layer in SPLIT.items()}


def linen_layers() -> Callable[..., Any]:
    """Return the function that calls all layers, with what each is told."""
    rngs = dict.fromkeys(("params", "dropout", "zoneout"), jax.random.key(0))
    modules, variables = {}, {}
    for name, layer in SPLIT.items():
        outer = layer.linen()
        inner = (outer.cell if isinstance(outer, LinenRNN) else outer).clone(mesh_axes=SPECS[name])
        modules[name] = outer.clone(cell=inner) if isinstance(outer, LinenRNN) else inner
        variables[name] = modules[name].init(rngs, XS[name])

    def call(key: jax.Array, name: str, x: jax.Array) -> Any:
        return modules[name].apply(variables[name], x, rngs={"dropout": key, "zoneout": key})

    return call


def nnx_layers() -> Callable[..., Any]:
    """The same of NNX; the layers' streams start from the key."""
    layers = {}
    for name, layer in SPLIT.items():
        model = layer.nnx(nnx.Rngs(0))
        inner: Any = model.rnn.cell if isinstance(model, NNXRNN) else model
        inner.mesh_axes = SPECS[name]
        graph, state = nnx.split(model)
        layers[name] = graph, nnx.as_pure(state)

    def call(key: jax.Array, name: str, x: jax.Array) -> Any:
        layer = nnx.merge(*layers[name])
        nnx.reseed(layer, default=key)
        return layer(x)

    return call


@pytest.mark.parametrize("layers", [linen_layers, nnx_layers])
def test_every_layer_draws_its_part(layers: Any) -> None:
    """All layers are one program."""
    call = layers()

    def run(key: jax.Array, xs: dict[str, jax.Array]) -> Any:
        """Outputs, and gradients where there are any."""
        ys, floats = {}, {name: x for name, x in xs.items() if is_float(XS[name])}
        for name in xs.keys() - floats.keys():
            ys[name] = call(jax.random.clone(key), name, xs[name])
        together, pull = jax.vjp(
            lambda xs: {name: call(jax.random.clone(key), name, x) for name, x in xs.items()},
            floats,
        )
        return ys | together, pull(together)[0]

    out = SPECS, {name: spec for name, spec in SPECS.items() if is_float(XS[name])}
    mesh = jax.make_mesh((4, 2), ("a", "model"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
    sharded = jax.shard_map(run, mesh=mesh, in_specs=(P(), SPECS), out_specs=out)
    got, want = jax.jit(sharded)(KEY, XS), jax.jit(run)(KEY, XS)
    for ones, others in zip(got, want, strict=True):
        for name, one in ones.items():
            one, other = np.asarray(one), np.asarray(others[name])
            np.testing.assert_array_equal(one == 0, other == 0, err_msg=name)
            np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-6, err_msg=name)


def test_it_is_the_last_argument_by_name_and_may_be_left_out() -> None:
    for layer in SPLIT.values():
        *_, last = inspect.signature(layer.nnx_class.__init__).parameters.values()
        assert (last.name, last.kind, last.default) == ("mesh_axes", last.KEYWORD_ONLY, ())
        (field,) = (f for f in dataclasses.fields(layer.linen_class) if f.name == "mesh_axes")
        assert field.kw_only and field.default == ()


def test_an_axis_left_out_is_told() -> None:
    for name, layer in SPLIT.items():
        if is_float(layer.x) and not isinstance(module := layer.linen(), LinenRNN):
            silent: nn.Module = module.clone(mesh_axes=(None,))

            def shard(x: jax.Array, silent: nn.Module = silent) -> Any:
                rngs = dict.fromkeys(("params", "dropout"), jax.random.key(0))
                return silent.init_with_output(rngs, x)[0]

            mesh = jax.make_mesh((8,), ("a",), axis_types=(jax.sharding.AxisType.Auto,))
            with pytest.raises(ValueError, match="differs over the mesh axis 'a'"):
                jax.eval_shape(
                    jax.shard_map(shard, mesh=mesh, in_specs=P("a"), out_specs=P("a")), XS[name]
                )
