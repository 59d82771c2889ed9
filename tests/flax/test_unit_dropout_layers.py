"""UnitDropoutMLP and UnitDropoutConv: their functions, on the parameters of plain layers."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx

import jaxdrop
import jaxdrop.linen
import jaxdrop.nnx
import jaxdrop.surgery

FEATURES, KEY = (16, 8, 3), jax.random.key(3)
X = jnp.linspace(-1.0, 1.0, 24).reshape(6, 4)
IMAGES = jnp.sin(jnp.arange(6 * 5 * 5 * 4.0)).reshape(6, 5, 5, 4)
SHAPED: dict[str, Any] = {"strides": (2, 1), "padding": "VALID"}


class Chain(NamedTuple):
    """A layer of both libraries, what it calls, and the layers of flax that it stands for."""

    linen: Callable[..., Any]
    nnx: Callable[..., Any]
    function: Callable[..., Any]
    x: jax.Array
    name: str
    plain: Callable[[int], Any]
    plain_nnx: Callable[..., Any]


MLP = Chain(
    lambda **more: jaxdrop.linen.UnitDropoutMLP(FEATURES, 0.5, **more),
    lambda **more: jaxdrop.nnx.UnitDropoutMLP(4, FEATURES, 0.5, rngs=nnx.Rngs(0), **more),
    jaxdrop.unit_dropout_mlp,
    X,
    "Dense",
    nn.Dense,
    nnx.Linear,
)
CONV = Chain(
    lambda **more: jaxdrop.linen.UnitDropoutConv(FEATURES, (1, 2), 0.5, **SHAPED, **more),
    lambda **more: jaxdrop.nnx.UnitDropoutConv(
        4, FEATURES, (1, 2), 0.5, rngs=nnx.Rngs(0), **SHAPED, **more
    ),
    functools.partial(jaxdrop.unit_dropout_conv, **SHAPED),
    IMAGES,
    "Conv",
    lambda n: nn.Conv(n, (1, 2), **SHAPED),
    lambda n, m, rngs: nnx.Conv(n, m, (1, 2), **SHAPED, rngs=rngs),
)
either = pytest.mark.parametrize("chain", [MLP, CONV], ids=["mlp", "conv"])


class Plain(nn.Module):
    """The same network of flax's own layers."""

    layer: Callable[[int], Any]

    @nn.compact
    def __call__(self, x: Any) -> Any:
        for n in FEATURES[:-1]:
            x = nn.relu(self.layer(n)(x))
        return self.layer(FEATURES[-1])(x)


OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"block_size": 4, "activation": jnp.tanh},
    {"contiguous": True, "groups": 3},
)


@pytest.mark.slow
@either
@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: ", ".join(options) or "plain")
def test_both_are_the_function(chain: Chain, options: dict[str, Any]) -> None:
    linen = chain.linen(deterministic=False, **options)
    params = linen.init(jax.random.key(0), chain.x)["params"]
    layers = [params[f"{chain.name}_{i}"] for i in range(len(FEATURES))]
    model = chain.nnx(**options)
    nnx.update(model, {"layers": dict(enumerate(layers))})
    expected = chain.function(KEY, chain.x, 0.5, layers, **options)
    np.testing.assert_array_equal(linen.apply({"params": params}, chain.x, rng=KEY), expected)
    np.testing.assert_array_equal(model(chain.x, rngs=KEY), expected)
    drawn = linen.apply({"params": params}, chain.x, rngs={"dropout": KEY})
    assert not np.array_equal(drawn, linen.clone(deterministic=None).apply(
        {"params": params}, chain.x, deterministic=True
    ))  # fmt: skip


@pytest.mark.slow
@either
def test_a_checkpoint_of_plain_layers_fits(chain: Chain) -> None:
    plain_linen, linen = Plain(chain.plain), chain.linen()
    params = plain_linen.init(KEY, chain.x)
    own = linen.init(KEY, chain.x, deterministic=True)
    jax.tree.map(np.testing.assert_array_equal, params, own)
    expected: Any = plain_linen.apply(params, chain.x)
    found = linen.apply(params, chain.x, deterministic=True)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    rngs, sizes = nnx.Rngs(0), (4, *FEATURES)
    plain = nnx.List(
        chain.plain_nnx(n, m, rngs=rngs) for n, m in zip(sizes, FEATURES, strict=False)
    )
    model = chain.nnx()
    model.eval()
    jax.tree.map(
        np.testing.assert_array_equal,
        nnx.to_pure_dict(nnx.state(plain, nnx.Param)),
        nnx.to_pure_dict(nnx.state(model.layers, nnx.Param)),
    )
    for layers in (plain, model.layers):
        h = chain.x
        for i, layer in enumerate(layers):
            h = layer(h) if i == len(FEATURES) - 1 else jax.nn.relu(layer(h))
        np.testing.assert_allclose(model(chain.x), h, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@either
def test_dtype_and_bias_are_those_of_plain_layers(chain: Chain) -> None:
    more: dict[str, Any] = {"use_bias": False, "dtype": jnp.bfloat16}
    linen = chain.linen(deterministic=True, **more)
    y, variables = linen.init_with_output(KEY, chain.x)
    assert y.dtype == jnp.bfloat16
    assert variables["params"][f"{chain.name}_0"].keys() == {"kernel"}
    model = chain.nnx(**more)
    assert model(chain.x).dtype == jnp.bfloat16 and model.layers[0].bias is None


@either
def test_surgery_and_modes_know_it(chain: Chain) -> None:
    model = chain.nnx()
    assert len(list(jaxdrop.surgery.find_dropouts(model))) == 1
    first = model(chain.x)
    assert not np.array_equal(first, model(chain.x))
    jaxdrop.surgery.set_rates(model, 0.0)
    np.testing.assert_array_equal(model(chain.x), model(chain.x, deterministic=True))


def test_wrong_use_is_told_in_a_sentence() -> None:
    with pytest.raises(TypeError, match=r"^got features=16 of type int, expected the numbers of"):
        jaxdrop.nnx.UnitDropoutMLP(4, 16, 0.5, rngs=nnx.Rngs(0))  # type: ignore[arg-type]  # on purpose
    with pytest.raises(ValueError, match=r"^got features\[1\]=0, expected a whole number of at"):
        jaxdrop.linen.UnitDropoutMLP((16, 0), 0.5, deterministic=True).init(KEY, X)
    with pytest.raises(ValueError, match="^got 1 layers, expected two or more"):
        jaxdrop.nnx.UnitDropoutMLP(4, (16,), 0.5, rngs=nnx.Rngs(0))(X)
    with pytest.raises(ValueError, match=r"^got n=16 and block_size=3, expected a multiple"):
        jaxdrop.nnx.UnitDropoutMLP(4, FEATURES, 0.5, block_size=3, rngs=nnx.Rngs(0))(X)
    with pytest.raises(ValueError, match="UnitDropoutMLP needs a key while training"):
        model = jaxdrop.nnx.UnitDropoutMLP(4, FEATURES, 0.5, rngs=nnx.Rngs(0))
        model.rngs = None
        model(X)
    with pytest.raises(TypeError, match="takes a Python number"):
        jax.jit(lambda rate: jaxdrop.nnx.UnitDropoutMLP(4, FEATURES, rate, rngs=nnx.Rngs(0))(X))(
            0.5
        )
    with pytest.raises(TypeError, match=r"^got kernel_size=1\.5 of type float, expected integers"):
        jaxdrop.nnx.UnitDropoutConv(4, FEATURES, 1.5, 0.5, rngs=nnx.Rngs(0))  # type: ignore[arg-type]  # on purpose
    with pytest.raises(
        ValueError, match=r"^got kernel_size=\(3, 0\), UnitDropoutConv expects sides"
    ):
        jaxdrop.linen.UnitDropoutConv(FEATURES, (3, 0), 0.5, deterministic=True).init(KEY, IMAGES)
    with pytest.raises(
        ValueError, match=r"(?s)^got x of shape \(6, 4\) and a first kernel of shape"
    ):
        CONV.nnx()(X)
    with pytest.raises(TypeError, match="kernel_siz"):
        CONV.nnx(kernel_siz=3)
