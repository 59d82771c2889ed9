"""mesh_axes of the unit_dropout chains: shards leave out the units that the whole batch does."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

import jaxdrop
import jaxdrop.linen
import jaxdrop.nnx

pytestmark = pytest.mark.slow

KEY = jax.random.key(21)
DENSE = [
    {"kernel": jnp.linspace(-1.0, 1.0, 48).reshape(4, 12), "bias": jnp.linspace(0.0, 1.0, 12)},
    {"kernel": jnp.linspace(1.0, -1.0, 36).reshape(12, 3)},
]
CONVS = [{name: p[None] if p.ndim == 2 else p for name, p in layer.items()} for layer in DENSE]
X = jnp.linspace(-1.0, 2.0, 8 * 2 * 4).reshape(8, 2, 4)
CHAINS = {"mlp": (jaxdrop.unit_dropout_mlp, DENSE), "conv": (jaxdrop.unit_dropout_conv, CONVS)}


def in_shards(f: Callable[..., Any], spec: Any) -> Callable[..., Any]:
    mesh = jax.make_mesh((4, 2), ("data", "model"), axis_types=(AxisType.Auto,) * 2)
    return jax.jit(jax.shard_map(f, mesh=mesh, in_specs=spec, out_specs=spec))


@pytest.mark.parametrize("groups", [1, 4, 8])
@pytest.mark.parametrize("chain", CHAINS)
def test_shards_leave_out_what_the_whole_batch_does(chain: str, groups: int) -> None:
    function, layers = CHAINS[chain]
    options: dict[str, Any] = {"groups": groups, "layers": layers, "block_size": 2}
    call: Any = functools.partial(function, KEY, rate=0.5, **options)
    want = call(X)
    got = in_shards(lambda x: call(x, mesh_axes=("data",)), P("data"))(X)
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-6)
    with jaxdrop.default_mesh_axes(("data", ...)):
        got = in_shards(lambda x: call(x), P("data"))(X)
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-6)
    if groups > 1:  # without mesh_axes every shard has the first groups
        others = in_shards(lambda x: call(x, groups=groups // 4), P("data"))(X)
        assert np.abs(others - want).max() > 0.1  # by far more than rounding


def test_a_product_over_positions_may_be_split_over_them_too() -> None:
    call: Any = functools.partial(jaxdrop.unit_dropout_mlp, KEY, rate=0.5, layers=DENSE, groups=4)
    got = in_shards(lambda x: call(x, mesh_axes=("data", "model")), P("data", "model"))(X)
    np.testing.assert_allclose(got, call(X), rtol=1e-6, atol=1e-6)


def test_layers_hand_it_on() -> None:
    model = jaxdrop.nnx.UnitDropoutMLP(
        4, (12, 3), 0.5, groups=8, rngs=nnx.Rngs(0), mesh_axes=("data",)
    )
    want = model(X, rngs=KEY)
    np.testing.assert_allclose(
        in_shards(lambda x: model(x, rngs=KEY), P("data"))(X), want, rtol=1e-6, atol=1e-6
    )
    layer = jaxdrop.linen.UnitDropoutConv(
        (12, 3), (1,), 0.5, groups=8, deterministic=False, mesh_axes=("data",)
    )
    rngs = {"params": jax.random.key(0), "dropout": KEY}
    want, variables = layer.init_with_output(rngs, X)
    apply = functools.partial(layer.apply, variables, rngs={"dropout": KEY})
    np.testing.assert_allclose(in_shards(apply, P("data"))(X), want, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("chain", "mesh_axes", "groups", "sentence"),
    [
        ("mlp", ("data", None, "model"), 1, "mesh_axes.* split over any dimension but the last"),
        ("conv", ("data", "model"), 1, "mesh_axes.* is split over the batch"),
        ("mlp", ("data",), 2, "got groups=2 for a batch of 2 on each of 4 shards"),
        ("mlp", (), 1, "differs over the mesh axis 'data'"),
    ],
)
def test_what_cannot_be_told_is_refused(
    chain: str, mesh_axes: Any, groups: int, sentence: str
) -> None:
    function, layers = CHAINS[chain]
    if mesh_axes[2:]:  # each shard has its rows of the kernel, as its inputs are split
        layers = [layers[0] | {"kernel": layers[0]["kernel"][:2]}, layers[1]]
    spec = P(*mesh_axes) if mesh_axes else P("data")
    given = mesh_axes or (None,)
    call: Any = functools.partial(function, KEY, rate=0.5, layers=layers, groups=groups)
    with pytest.raises(ValueError, match=sentence):
        jax.eval_shape(in_shards(lambda x: call(x, mesh_axes=given), spec), X)
