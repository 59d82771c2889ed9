"""lora_dropout: the adapter's input alone is dropped, in both libraries and by surgery."""

import pickle
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
from jaxdrop import mc, surgery

X = jnp.sin(jnp.arange(32.0)).reshape(8, 4)
A, B = jnp.cos(jnp.arange(8.0)).reshape(4, 2), jnp.sin(jnp.arange(6.0)).reshape(2, 3)
RATE = 0.5


def of_torchtune(linear: Any, keep: Any, alpha: float, rank: int) -> np.ndarray:
    """Its rule: linear(x) + alpha / rank * b(a(dropout(x)))."""
    dropped = np.where(keep, np.asarray(X) / (1 - RATE), 0)
    return np.asarray(linear(X)) + alpha / rank * (dropped @ np.asarray(A) @ np.asarray(B))


def check_base(layer: Any, linear: Any, key: Any) -> None:
    """The adapted layer gets all of x: it adds the same to every draw."""
    keep = np.asarray(jaxdrop.keep_mask(key, X.shape, RATE))
    want = of_torchtune(linear, keep, 16.0, 2)
    np.testing.assert_allclose(layer(X, key), want, rtol=1e-5, atol=1e-5)


def test_both_layers_follow_torchtunes_rule_and_are_off_in_eval() -> None:
    key = jax.random.key(0)
    linear: Any = nnx.Linear(4, 3, rngs=nnx.Rngs(0))
    layer = jaxdrop.nnx.LoRA(4, 2, 3, RATE, scale=8.0, base_module=linear, rngs=nnx.Rngs(1))
    layer.lora_a[...], layer.lora_b[...] = A, B
    check_base(lambda x, key: layer(x, rngs=key), linear, key)
    outer = nnx.Sequential(linear)
    surgery.insert(outer, lambda p, m: m is linear, RATE, rngs=nnx.Rngs(0))
    with pytest.raises(AssertionError):  # the mistake: the base's input is dropped as well
        check_base(lambda x, key: layer(x, rngs=key), linear, key)
    surgery.set_rates(outer, 0.0)
    assert (layer(X) != layer(X)).any()
    layer.eval()
    np.testing.assert_allclose(layer(X), linear(X) + 8.0 * (X @ A @ B), rtol=1e-5)

    model = jaxdrop.linen.LoRA(3, 2, RATE, base_module=nn.Dense(3), scale=8.0)
    params = {
        "lora_a": A,
        "lora_b": B,
        "base_module": {"kernel": linear.kernel[...], "bias": linear.bias[...]},
    }
    made = model.init(jax.random.key(2), X, deterministic=True)["params"]
    assert jax.tree.map(jnp.shape, made) == jax.tree.map(jnp.shape, params)
    assert not made["lora_b"].any()
    apply = jax.jit(lambda x, key: model.apply({"params": params}, x, False, key))
    check_base(apply, linear, key)
    alone: Any = model.apply({"params": params}, X, deterministic=True)
    np.testing.assert_allclose(alone, layer(X), rtol=1e-6)


def adapted() -> Any:
    rngs = nnx.Rngs(3)
    model: Any = nnx.Sequential(
        nnx.LoRALinear(4, 3, lora_rank=2, rngs=rngs),
        nnx.LoRA(3, 2, 3, base_module=nnx.Linear(3, 3, rngs=rngs), rngs=rngs),
    )
    for module in (model.layers[0].lora, model.layers[1]):
        module.lora_b[...] = jnp.ones(module.lora_b.shape)
    return model


def test_surgery_turns_it_on_in_training_alone_and_is_taken_back() -> None:
    model = adapted()
    want = model(X)
    layout: Any = jax.tree.structure(nnx.state(model, nnx.Param))
    undo = surgery.lora_dropout(model, RATE, rngs=nnx.Rngs(4))
    assert jax.tree.structure(nnx.state(model, nnx.Param)) == layout
    assert [row.kind for row in surgery.listing(model)] == ["jaxdrop LoRA"] * 2
    step = nnx.jit(lambda model, x: model(x))
    assert (step(model, X) != step(model, X)).any()
    model.eval()
    np.testing.assert_array_equal(model(X), want)
    samples = mc.mc_predict(model, jax.random.key(5), X, 4)
    assert (samples[0] != samples[1]).any()
    surgery.set_rates(model, 0.0)
    model.train()
    np.testing.assert_array_equal(model(X), want)
    copied = pickle.loads(pickle.dumps(model.layers[1]))
    assert type(copied) is jaxdrop.nnx.LoRA
    undo()
    assert type(model.layers[1]) is nnx.LoRA and not hasattr(model.layers[1], "rate")
    np.testing.assert_array_equal(model(X), want)


def test_a_predicate_chooses_and_each_adapter_draws_on_its_own() -> None:
    model = adapted()
    surgery.lora_dropout(model, RATE, rngs=nnx.Rngs(4), where=lambda path, m: path == ("layers", 1))
    assert type(model.layers[0].lora) is nnx.LoRA and type(model.layers[1]) is jaxdrop.nnx.LoRA
    both = adapted()
    surgery.lora_dropout(both, RATE, rngs=nnx.Rngs(4))
    first, second = both.layers[0].lora.rngs, both.layers[1].rngs
    assert (jax.random.key_data(first()) != jax.random.key_data(second())).any()


def test_in_a_stack_every_layer_has_its_own_stream() -> None:
    @nnx.split_rngs(splits=3)
    @nnx.vmap
    def stack(rngs: nnx.Rngs) -> Any:
        return nnx.LoRA(4, 2, 4, b_initializer=nnx.initializers.ones, rngs=rngs)

    layers = stack(nnx.Rngs(6))
    model: Any = nnx.Dict(layers=layers)
    surgery.lora_dropout(model, RATE, rngs=nnx.Rngs(7))
    assert layers.rngs.key[...].shape == (3,)

    @nnx.scan(in_axes=(0, None), out_axes=0)
    def each(layer: Any, x: Any) -> Any:
        layer.lora_a[...], layer.lora_b[...] = A, jnp.ones((2, 4))
        return layer(x)

    ys = np.asarray(each(layers, X))
    assert (ys[0] != ys[1]).any() and (ys[1] != ys[2]).any()


def test_wrong_use_is_told_in_a_sentence() -> None:
    key, model = jax.random.key(0), nnx.Sequential(nnx.Linear(4, 3, rngs=nnx.Rngs(0)))
    with pytest.raises(ValueError, match="chose no nnx.LoRA; the model has modules of type flax"):
        surgery.lora_dropout(model, RATE, rngs=nnx.Rngs(0))
    with pytest.raises(TypeError, match="^got rngs of type int, expected nnx.Rngs"):
        surgery.lora_dropout(adapted(), RATE, rngs=0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^got x, lora_a and lora_b of shapes \(8, 4\), \(4, 2\)"):
        jaxdrop.lora_dropout(key, X, RATE, lora_a=A, lora_b=B.T)
    with pytest.raises(TypeError, match="of dtypes float32, bfloat16 and float32; lora_dropout"):
        jaxdrop.lora_dropout(key, X, RATE, lora_a=A.astype(jnp.bfloat16), lora_b=B)
    with pytest.raises(ValueError, match="^got scale=nan, expected a number"):
        jaxdrop.lora_dropout(key, X, RATE, lora_a=A, lora_b=B, scale=float("nan"))
