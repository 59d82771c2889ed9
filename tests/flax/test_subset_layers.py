"""DropPathSubset and TokenSkip in Linen and NNX: the functions, around modules."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxdrop
import jaxdrop.linen
import jaxdrop.nnx
from jaxdrop import surgery

X = jnp.sin(jnp.arange(24.0)).reshape(6, 4)
SEQUENCES = jnp.sin(jnp.arange(72.0)).reshape(2, 9, 4)
SCALES = jnp.arange(1.0, 7.0)


class Branch(nn.Module):
    """A product, with a number for each example and a switch."""

    @nn.compact
    def __call__(self, x: Any, scales: Any = None, *, negative: bool = False) -> Any:
        y = nn.Dense(4)(x)
        y = y if scales is None else y * scales[:, None]
        return -y if negative else y


class NNXBranch(nnx.Module):
    def __init__(self, kernel: Any) -> None:
        self.dense = nnx.Linear(4, 4, rngs=nnx.Rngs(0))
        self.dense.kernel[...] = kernel

    def __call__(self, x: Any, scales: Any = None, *, negative: bool = False) -> Any:
        y = self.dense(x)
        y = y if scales is None else y * scales[:, None]
        return -y if negative else y


class Embed(nn.Module):
    @nn.compact
    def __call__(self, x: Any, positions: Any) -> Any:
        return x + nn.Embed(9, 4)(positions)


def pair() -> tuple[Any, Any, Any]:
    """The Linen layer, its variables, and its twin with the same kernel."""
    model = jaxdrop.linen.DropPathSubset(Branch(), 0.5)
    variables = model.init(jax.random.key(0), X, deterministic=True)
    kernel = variables["params"]["branch"]["Dense_0"]["kernel"]
    return model, variables, jaxdrop.nnx.DropPathSubset(NNXBranch(kernel), 0.5)


def test_layers_do_what_the_function_does_with_the_parts_of_the_kept_examples() -> None:
    model, variables, layer = pair()
    plain = {"params": variables["params"]["branch"]}
    kept = jaxdrop.kept_units(jax.random.key(1), 6, 0.5)

    def branch(h: Any) -> Any:
        scales = SCALES[kept]
        return -(Branch().apply(plain, h) * scales[:, None])  # type: ignore[operator]

    want = jaxdrop.drop_path_subset(jax.random.key(1), branch, X, 0.5)

    @jax.jit
    def apply(variables: Any, key: Any) -> Any:
        return model.apply(variables, X, SCALES, negative=True, deterministic=False, rng=key)

    np.testing.assert_allclose(apply(variables, jax.random.key(1)), want, rtol=1e-6)
    got = layer(X, SCALES, negative=True, rngs=jax.random.key(1))
    np.testing.assert_allclose(got, want, rtol=1e-6)
    assert ((want != 0).any(axis=1) == np.isin(np.arange(6), kept)).all()


def test_test_time_is_the_branch_without_a_key() -> None:
    model, variables, layer = pair()
    want: Any = Branch().apply({"params": variables["params"]["branch"]}, X)
    np.testing.assert_array_equal(model.apply(variables, X, deterministic=True), want)
    layer.eval()
    np.testing.assert_allclose(layer(X), want, rtol=1e-6)


def test_the_stream_advances() -> None:
    layer = jaxdrop.nnx.DropPathSubset(lambda h: h, 0.5, rngs=nnx.Rngs(0))
    assert len({tuple(np.asarray(layer(jnp.ones(6))).tolist()) for _ in range(8)}) > 1


def test_tokens_that_skip_are_those_of_the_function() -> None:
    model = jaxdrop.linen.TokenSkip(Embed(), 0.5, prefix=1)
    variables = model.init(jax.random.key(0), SEQUENCES, deterministic=True)
    plain = {"params": variables["params"]["layers"]}

    def layers(h: Any, positions: Any) -> Any:
        return Embed().apply(plain, h, positions)

    want = jaxdrop.token_skip(jax.random.key(1), layers, SEQUENCES, 0.5, prefix=1)
    got = model.apply(variables, SEQUENCES, deterministic=False, rng=jax.random.key(1))
    np.testing.assert_array_equal(got, want)
    layer = jaxdrop.nnx.TokenSkip(layers, 0.5, prefix=1)
    np.testing.assert_array_equal(layer(SEQUENCES, rngs=jax.random.key(1)), want)
    layer.eval()
    np.testing.assert_array_equal(layer(SEQUENCES), layers(SEQUENCES, np.arange(9)[None]))


def test_wrong_use_is_told_in_a_sentence() -> None:
    layer = jaxdrop.nnx.DropPathSubset(Branch(), 0.5)
    for mode in (True, False):
        with pytest.raises(
            ValueError, match=r"^got an argument of shape \(\) beside 6 example.*na"
        ):
            layer(X, 2.0, rngs=jax.random.key(0), deterministic=mode)
    with pytest.raises(TypeError, match="DropPathSubset takes a module for kept examples"):
        jaxdrop.linen.DropPathSubset(3, 0.5, deterministic=True).init(  # type: ignore[arg-type]
            jax.random.key(0), X
        )
    for kind, inner in ((jaxdrop.nnx.DropPathSubset, nnx.relu), (jaxdrop.nnx.TokenSkip, Embed())):
        with pytest.raises(ValueError, match="needs a key while training"):
            kind(inner, 0.5)(SEQUENCES)
        made = kind(inner, nnx.Variable(jnp.float32(0.5)))
        with pytest.raises(TypeError, match=f"{kind.__name__} at .* cannot take a rate in a varia"):
            surgery.rates_as_variables(nnx.Dict(layer=kind(inner, 0.5)))
        with pytest.raises(TypeError, match="takes a Python number"):
            made(SEQUENCES, rngs=jax.random.key(0))
