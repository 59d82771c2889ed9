"""UnitDropoutMLP in Linen and NNX: the function, on the parameters of plain layers."""

from typing import Any

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


class Plain(nn.Module):
    """The same network of flax's own layers."""

    @nn.compact
    def __call__(self, x: Any) -> Any:
        for n in FEATURES[:-1]:
            x = nn.relu(nn.Dense(n)(x))
        return nn.Dense(FEATURES[-1])(x)


def layers_of(params: Any) -> list[Any]:
    return [params[f"Dense_{i}"] for i in range(len(FEATURES))]


OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"block_size": 4, "activation": jnp.tanh},
    {"contiguous": True, "groups": 3},
)


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: ", ".join(options) or "plain")
def test_both_are_the_function(options: dict[str, Any]) -> None:
    linen: Any = jaxdrop.linen.UnitDropoutMLP(FEATURES, 0.5, deterministic=False, **options)
    params = linen.init(jax.random.key(0), X)["params"]
    layers = layers_of(params)
    model = jaxdrop.nnx.UnitDropoutMLP(4, FEATURES, 0.5, rngs=nnx.Rngs(0), **options)
    nnx.update(model, {"layers": dict(enumerate(layers))})
    expected = jaxdrop.unit_dropout_mlp(KEY, X, 0.5, layers, **options)
    np.testing.assert_array_equal(linen.apply({"params": params}, X, rng=KEY), expected)
    np.testing.assert_array_equal(model(X, rngs=KEY), expected)
    drawn = linen.apply({"params": params}, X, rngs={"dropout": KEY})
    assert not np.array_equal(drawn, linen.clone(deterministic=None).apply(
        {"params": params}, X, deterministic=True
    ))  # fmt: skip


def test_a_checkpoint_of_plain_layers_fits() -> None:
    params = Plain().init(KEY, X)
    linen: Any = jaxdrop.linen.UnitDropoutMLP(FEATURES, 0.5)
    own = linen.init(KEY, X, deterministic=True)
    jax.tree.map(np.testing.assert_array_equal, params, own)
    expected: Any = Plain().apply(params, X)
    found = linen.apply(params, X, deterministic=True)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    rngs, sizes = nnx.Rngs(0), (4, *FEATURES)
    plain = nnx.List(nnx.Linear(n, m, rngs=rngs) for n, m in zip(sizes, FEATURES, strict=False))
    model = jaxdrop.nnx.UnitDropoutMLP(4, FEATURES, 0.5, rngs=nnx.Rngs(0))
    model.eval()
    jax.tree.map(
        np.testing.assert_array_equal,
        nnx.to_pure_dict(nnx.state(plain, nnx.Param)),
        nnx.to_pure_dict(nnx.state(model.layers, nnx.Param)),
    )
    h = X
    for i, layer in enumerate(plain):
        h = layer(h) if i == len(FEATURES) - 1 else jax.nn.relu(layer(h))
    np.testing.assert_allclose(model(X), h, rtol=1e-5, atol=1e-6)


def test_dtype_and_bias_are_those_of_dense() -> None:
    more: dict[str, Any] = {"use_bias": False, "dtype": jnp.bfloat16}
    linen: Any = jaxdrop.linen.UnitDropoutMLP(FEATURES, 0.5, deterministic=True, **more)
    y, variables = linen.init_with_output(KEY, X)
    assert y.dtype == jnp.bfloat16 and variables["params"]["Dense_0"].keys() == {"kernel"}
    model = jaxdrop.nnx.UnitDropoutMLP(4, FEATURES, 0.5, rngs=nnx.Rngs(0), **more)
    assert model(X).dtype == jnp.bfloat16 and model.layers[0].bias is None


def test_surgery_and_modes_know_it() -> None:
    model = jaxdrop.nnx.UnitDropoutMLP(4, FEATURES, 0.5, rngs=nnx.Rngs(0))
    assert len(list(jaxdrop.surgery.find_dropouts(model))) == 1
    jaxdrop.surgery.set_rates(model, 0.0)
    assert not np.array_equal(model(X), 0 * model(X))
    np.testing.assert_array_equal(model(X), model(X, deterministic=True))


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
